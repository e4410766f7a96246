// What the queues page reads and changes: a move is seen at once, can be undone, and is heard by every other page.
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { api, type Answer } from "@/api/client";
import { toast, toastProblem } from "@/ui";

export type Line = Answer<"/v1/queues/{queue}/line", "get">;
export type Waiting = Line["waiting"][number];
export type Job = Waiting["job"];
export type Queue = Answer<"/v1/queues", "get">["queues"][number];
export type Names = Answer<"/v1/run-names", "get">["runs"];

export const PART = 100;

export function useQueues() {
  return useQuery({ queryKey: ["queues", "all"], queryFn: ({ signal }) => api.get("/v1/queues", { signal }), refetchInterval: 30_000 });
}

export function useLine(queue: string, limit: number) {
  return useQuery({
    queryKey: lineKey(queue, limit),
    queryFn: ({ signal }) => api.get("/v1/queues/{queue}/line", { params: { queue }, query: { limit }, signal }),
    placeholderData: (before) => (before?.queue.name === queue ? before : undefined),
    // when jobs are expected to start changes by itself
    refetchInterval: 30_000,
  });
}

export function lineKey(queue: string, limit: number) {
  return ["queues", "line", queue, limit] as const;
}

/** What runs are called; by id. */
export function useNames(ids: string[]): Names {
  const asked = [...new Set(ids)].sort().slice(0, 500);
  const { data } = useQuery({
    queryKey: ["queues", "names", asked],
    queryFn: ({ signal }) => api.get("/v1/run-names", { query: { ids: asked }, signal }),
    enabled: asked.length > 0,
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });
  return data?.runs ?? {};
}

/** Where a job goes: in the order that is shown, before another job or to an end; or to another queue. */
export interface Order {
  job: Job;
  to?: "top" | "bottom";
  before?: string;
  queue?: string;
}

const moving = ["queues", "move"];

export function useMove(queue: string, limit: number, names: Names) {
  const client = useQueryClient();
  const key = lineKey(queue, limit);
  const send = ({ job, to, before, queue: other }: Order) =>
    api.post("/v1/jobs/{job_id}/move", {
      params: { job_id: job.id },
      body: { to: to ?? "top", before: before ?? "", queue: other ?? "" },
    });
  const look = () => client.invalidateQueries({ queryKey: ["queues"] });
  return useMutation({
    mutationKey: moving,
    mutationFn: send,
    onMutate: async (order) => {
      await client.cancelQueries({ queryKey: key });
      const line = client.getQueryData<Line>(key);
      if (line) client.setQueryData<Line>(key, moved(line, order));
      return { line };
    },
    onError: (error, _, before) => {
      if (before?.line) client.setQueryData(key, before.line);
      toastProblem(error);
    },
    onSuccess: (_, order, before) => {
      const jobs = before?.line?.waiting.map((one) => one.job) ?? [];
      const at = jobs.findIndex((job) => job.id === order.job.id);
      const next = jobs[at + 1];
      const name = names[order.job.subject]?.name ?? "The job";
      toast({
        text: order.queue && order.queue !== queue ? `${name} waits in ${order.queue} now` : `${name} was moved`,
        undo:
          at < 0
            ? undefined
            : async () => {
                await send(next ? { job: order.job, before: next.id } : { job: order.job, to: "bottom", queue });
                await look();
              },
      });
    },
    // with two moves under way, the first answer must not bring the second one's job back
    onSettled: () => (client.isMutating({ mutationKey: moving }) === 1 ? look() : undefined),
  });
}

/** The line as it will be. Expected starts are only known again when the server has answered. */
export function moved(line: Line, { job, to, before, queue }: Order): Line {
  const entry = line.waiting.find((one) => one.job.id === job.id);
  if (!entry) return line;
  const rest = line.waiting.filter((one) => one !== entry);
  if (queue && queue !== line.queue.name) return { ...line, queue: { ...line.queue, waiting: line.queue.waiting - 1 }, waiting: numbered(rest) };
  const at = before ? rest.findIndex((one) => one.job.id === before) : to === "bottom" ? rest.length : 0;
  if (at < 0) return line;
  const neighbour = rest[at] ?? rest[rest.length - 1];
  const priority = neighbour?.job.priority ?? job.priority;
  return { ...line, waiting: numbered([...rest.slice(0, at), { ...entry, job: { ...entry.job, priority }, starts: null }, ...rest.slice(at)]) };
}

function numbered(waiting: Waiting[]): Waiting[] {
  return waiting.map((one, ahead) => (one.ahead === ahead ? one : { ...one, ahead, starts: null }));
}

export type Policy = NonNullable<Queue["policy"]>;

export function usePolicy(queue: string) {
  const client = useQueryClient();
  const send = (change: Partial<Policy>) => api.patch("/v1/queues/{queue}", { params: { queue }, body: change });
  const look = () => client.invalidateQueries({ queryKey: ["queues"] });
  return useMutation({
    mutationFn: ({ change }: { change: Partial<Policy>; before: Partial<Policy>; said: string }) => send(change),
    onMutate: ({ change }) => {
      client.setQueriesData<Line>({ queryKey: ["queues", "line", queue] }, (line) =>
        line ? { ...line, queue: { ...line.queue, policy: { ...policyOf(line.queue), ...change } } } : line,
      );
    },
    onError: toastProblem,
    onSuccess: (_, { before, said }) =>
      void toast({
        text: said,
        undo: async () => {
          await send(before);
          await look();
        },
      }),
    onSettled: look,
  });
}

export function policyOf(queue: Queue): Policy {
  return queue.policy ?? { paused: false, draining: false, limit_per_user: 0, shares: {} };
}

/** What a job needs, in a few words. */
export function needsOf(job: Job): string {
  const needs = job.needs;
  if (!needs) return "";
  const said: string[] = [];
  if (needs.gpus) said.push(`${needs.gpus} GPU${needs.gpus > 1 ? "s" : ""}`);
  if (needs.gpu_memory) said.push(`${Math.round(needs.gpu_memory / 1e9)} GB of a GPU`);
  if (needs.cpus) said.push(`${needs.cpus} CPU${needs.cpus > 1 ? "s" : ""}`);
  if (needs.memory) said.push(`${Math.max(0.1, Math.round(needs.memory / 1e8) / 10)} GB`);
  if (needs.image) said.push(needs.image);
  for (const [name, value] of Object.entries(needs.labels ?? {})) said.push(`${name}=${value}`);
  return said.join(" · ");
}
