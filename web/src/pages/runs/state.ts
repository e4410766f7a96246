// What the table shows lives in the address: which runs, in which order, which columns, which group and baseline.
import { useNavigate } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo } from "react";

import { api } from "@/api/client";
import { parseSearch, stringifySearch, useAddress, type Search } from "@/nav";

export interface SortKey {
  name: string;
  descending: boolean;
}

export interface TableState {
  where: string;
  text: string;
  sort: SortKey[];
  /** The columns after the name, in order; null leaves the choice to the server. */
  columns: string[] | null;
  /** So many columns after the name stay when the table is scrolled sideways. */
  pinned: number;
  widths: Record<string, number>;
  group: string[];
  baseline: string;
  archived: boolean;
  facets: boolean;
}

/** The names of the address that belong to the state of the table; the others (view, run, tab) stand beside it. */
const OWN = ["where", "text", "sort", "cols", "pin", "w", "group", "baseline", "archived", "facets"] as const;
const LONGEST = 1500;

/** Cut at commas that are in no quotes. */
export function splitList(text: string): string[] {
  return (text.match(/(?:"(?:[^"\\]|\\.)*"|`[^`]*`|[^,])+/g) ?? []).map((piece) => piece.trim()).filter(Boolean);
}

export function readSort(text: string): SortKey[] {
  return splitList(text).map((piece) => {
    const way = /\s+(asc|desc)$/i.exec(piece);
    return { name: way ? piece.slice(0, way.index).trim() : piece, descending: way?.[1]?.toLowerCase() === "desc" };
  });
}

export function writeSort(sort: SortKey[]): string {
  return sort.map((key) => `${key.name} ${key.descending ? "desc" : "asc"}`).join(", ");
}

export function readState(search: Search): TableState {
  return {
    where: search.where ?? "",
    text: search.text ?? "",
    sort: readSort(search.sort ?? ""),
    columns: search.cols === undefined ? null : splitList(search.cols),
    pinned: Math.max(0, Number.parseInt(search.pin ?? "0", 10) || 0),
    widths: Object.fromEntries(
      splitList(search.w ?? "").flatMap((piece) => {
        const at = piece.lastIndexOf(":");
        const width = Number(piece.slice(at + 1));
        return at > 0 && width >= 40 && width <= 2000 ? [[piece.slice(0, at), width]] : [];
      }),
    ),
    group: splitList(search.group ?? ""),
    baseline: search.baseline ?? "",
    archived: search.archived === "1",
    facets: search.facets === "1",
  };
}

function writeState(changes: Partial<TableState>): Search {
  const search: Search = {};
  if (changes.where !== undefined) search.where = changes.where;
  if (changes.text !== undefined) search.text = changes.text;
  if (changes.sort !== undefined) search.sort = writeSort(changes.sort);
  if (changes.columns !== undefined) search.cols = changes.columns === null ? undefined : changes.columns.join(",");
  if (changes.pinned !== undefined) search.pin = changes.pinned ? String(changes.pinned) : undefined;
  if (changes.widths !== undefined)
    search.w = Object.entries(changes.widths)
      .map(([name, width]) => `${name}:${Math.round(width)}`)
      .join(",");
  if (changes.group !== undefined) search.group = changes.group.join(",");
  if (changes.baseline !== undefined) search.baseline = changes.baseline;
  if (changes.archived !== undefined) search.archived = changes.archived ? "1" : undefined;
  if (changes.facets !== undefined) search.facets = changes.facets ? "1" : undefined;
  return search;
}

/** The part of an address that is the state of the table, as text: what a view keeps. */
export function stateText(search: Search): string {
  return stringifySearch(Object.fromEntries(OWN.map((name) => [name, search[name]]))).replace(/^\?/, "");
}

export type ChangeState = (changes: Partial<TableState>, options?: { replace?: boolean }) => void;

export interface Addressed {
  state: TableState;
  change: ChangeState;
  search: Search;
  setSearch: ReturnType<typeof useAddress>[1];
  /** The state as text, whether it stands in the address or in a view. */
  text: string;
  /** A view is being fetched: nothing is known yet. */
  pending: boolean;
  problem: Error | null;
}

/** The state of the table. `?view=ID` alone means the state that is kept there; what is changed then stands in the address. */
export function useTableState(): Addressed {
  const [search, setSearch] = useAddress();
  const navigate = useNavigate();
  const explicit = OWN.some((name) => search[name] !== undefined);
  const kept = useQuery({
    queryKey: ["views", "one", search.view],
    queryFn: ({ signal }) => api.get("/v1/views/{view_id}", { params: { view_id: search.view! }, signal }),
    enabled: Boolean(search.view),
  });
  const fromView = !explicit && search.view ? kept.data?.state : undefined;
  const effective = useMemo(() => (fromView === undefined ? search : parseSearch(fromView)), [fromView, search]);
  const state = useMemo(() => readState(effective), [effective]);
  const text = useMemo(() => stateText(effective), [effective]);
  const change = useCallback<ChangeState>(
    (changes, options) => {
      const own = Object.fromEntries(OWN.map((name) => [name, effective[name]]));
      const next = { ...own, ...writeState(changes) };
      // a state without anything is the plain table, not that of the view
      const plain = OWN.every((name) => !next[name]);
      setSearch((now) => ({ ...now, ...next, view: plain ? undefined : now.view }), options);
    },
    [effective, setSearch],
  );
  // a long state is kept on the server, and the address says its short id
  const long = explicit && text.length > LONGEST ? text : "";
  useEffect(() => {
    if (!long) return;
    let wanted = true;
    void api
      .post("/v1/views", { body: { state: long, page: "runs" } })
      .then((view) => {
        if (!wanted) return;
        void navigate({
          to: ".", replace: true, resetScroll: false,
          search: ((now: Search) => ({ ...Object.fromEntries(Object.entries(now).filter(([name]) => !(OWN as readonly string[]).includes(name))), view: view.id })) as never,
        });
      })
      .catch(() => undefined);
    return () => {
      wanted = false;
    };
  }, [long, navigate]);
  return {
    state, change, search, setSearch, text,
    pending: Boolean(search.view) && !explicit && kept.isPending,
    problem: Boolean(search.view) && !explicit ? kept.error : null,
  };
}
