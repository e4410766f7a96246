// What the table asks the server, and what it tells it: pages of rows, groups, changes of many runs.
import { keepPreviousData, useInfiniteQuery, useQueries, useQuery, type QueryClient } from "@tanstack/react-query";

import { api, Problem, type Answer, type Schemas } from "@/api/client";

export type Row = Schemas["Row"];
export type Group = Schemas["Group"];
export type Spread = Schemas["Spread"];
export type TablePage = Answer<"/v1/runs/table", "get">;

export interface Question {
  project: string;
  where: string;
  text: string;
  order_by: string;
  archived: boolean;
  columns: string;
}

export const PAGE = 100;

interface Placed {
  page: number;
  table: TablePage;
}

function pageQuery(question: Question, page: number) {
  return {
    queryKey: ["runs", "table", question, page] as const,
    queryFn: async ({ signal }: { signal: AbortSignal }): Promise<Placed> => ({
      page,
      table: await api.get("/v1/runs/table", { query: { ...question, limit: PAGE, offset: page * PAGE }, signal }),
    }),
  };
}

export interface Rows {
  /** The rows known, by their place in the whole. */
  at: Map<number, Row>;
  total: number;
  exact: boolean;
  columns: string[];
  /** What is shown answers an earlier question. */
  stale: boolean;
  pending: boolean;
  problem: Error | null;
  retry: () => void;
}

/** The rows from `first` to `last`, fetched in pages; while a new question is open, the old rows stay. */
export function useRows(question: Question, first: number, last: number, enabled: boolean): Rows {
  const start = Math.floor(first / PAGE);
  const end = Math.max(start, Math.floor(last / PAGE));
  const main = useQuery({ ...pageQuery(question, start), placeholderData: keepPreviousData, enabled });
  const more = useQueries({
    queries: Array.from({ length: end - start }, (_, index) => ({ ...pageQuery(question, start + 1 + index), enabled })),
  });
  const at = new Map<number, Row>();
  for (const answer of [main.data, ...(main.isPlaceholderData ? [] : more.map((one) => one.data))])
    if (answer) for (const [index, row] of answer.table.rows.entries()) at.set(answer.page * PAGE + index, row);
  const newest = main.data?.table;
  return {
    at,
    total: newest?.total ?? 0,
    exact: newest?.total_is_exact ?? true,
    columns: newest?.columns ?? [],
    stale: main.isPlaceholderData && start === 0,
    pending: main.isPending,
    problem: main.error,
    retry: () => void main.refetch(),
  };
}

export const GROUPS = 100;

export function useGroups(question: Question, by: string[], enabled: boolean) {
  return useInfiniteQuery({
    queryKey: ["runs", "groups", question, by],
    queryFn: ({ signal, pageParam }) =>
      api.get("/v1/runs/groups", {
        query: { ...question, by: by.join(","), limit: GROUPS, offset: pageParam },
        signal,
      }),
    initialPageParam: 0,
    getNextPageParam: (page, _, offset) => (offset + page.groups.length < page.total ? offset + page.groups.length : undefined),
    placeholderData: keepPreviousData,
    enabled,
  });
}

// -- changes of many runs --------------------------------------------------------------------------------------------

export type Order = {
  action: Schemas["BulkAction"];
  tags?: string[];
  queue?: string;
  reason?: string;
};
export type Target = { ids: string[] } | { question: Question; count: number };

export interface Outcome {
  done: string[];
  refused: Schemas["Refused"][];
}

const PIECE = 500;

/** Do something with many runs, piece by piece; `tell` hears how many have been looked at. */
export async function changeMany(order: Order, target: Target, tell: (done: number) => void = () => undefined): Promise<Outcome> {
  const outcome: Outcome = { done: [], refused: [] };
  const take = (answer: Schemas["Bulked"]) => {
    outcome.done.push(...answer.done);
    outcome.refused.push(...(answer.refused ?? []));
    tell(outcome.done.length + outcome.refused.length);
  };
  if ("ids" in target) {
    for (let start = 0; start < target.ids.length; start += PIECE)
      take(await api.post("/v1/runs/bulk", { body: { ...order, ids: target.ids.slice(start, start + PIECE) } }));
    return outcome;
  }
  const { project, where, text, archived } = target.question;
  let after = "";
  let until = "";
  do {
    const answer: Schemas["Bulked"] = await api.post("/v1/runs/bulk", {
      body: { ...order, project, where, text, archived, everything: true, after, until },
    });
    take(answer);
    after = answer.next ?? "";
    until = answer.until ?? "";
  } while (after);
  return outcome;
}

/** Take rows away before the server has said so; it is asked right after. */
export function hideRows(client: QueryClient, ids: Set<string>): void {
  client.setQueriesData<Placed>({ queryKey: ["runs", "table"] }, (old) => {
    if (!old) return old;
    const rows = old.table.rows.filter((row) => !ids.has(row.id));
    const gone = old.table.rows.length - rows.length;
    return gone ? { ...old, table: { ...old.table, rows, total: old.table.total - gone } } : old;
  });
}

/** The character of `where` at which it does not parse, when that is what the server refuses. */
export function faultOf(problem: Error | null, field: string): Problem | null {
  return problem instanceof Problem && problem.status === 400 && problem.field === field ? problem : null;
}
