// Points for charts: what the visible charts ask for within one frame travels as one question.
import { keepPreviousData, queryOptions, useQuery } from "@tanstack/react-query";

import { api, type Answer } from "@/api/client";

import { again } from "./context";
import type { Run } from "./words";

export type RunChart = Answer<"/v1/charts", "get">["charts"][number];

interface Asked {
  names: string[];
  resolve: (charts: RunChart[]) => void;
  reject: (error: unknown) => void;
}

const waiting = new Map<string, Asked[]>();
const MOST = 60;

/** Series of runs, all of them or between two steps. */
export function load(runs: readonly string[], names: readonly string[], range: readonly [number, number] | null, points = 500, times = true): Promise<RunChart[]> {
  const key = JSON.stringify([runs, range, points, times]);
  return new Promise((resolve, reject) => {
    const asked = waiting.get(key);
    if (asked) asked.push({ names: [...names], resolve, reject });
    else {
      waiting.set(key, [{ names: [...names], resolve, reject }]);
      setTimeout(() => void send(key), 12);
    }
  });
}

async function send(key: string): Promise<void> {
  const asked = waiting.get(key) ?? [];
  waiting.delete(key);
  const [runs, range, points, times] = JSON.parse(key) as [string[], [number, number] | null, number, boolean];
  const most = Math.max(1, Math.floor(MOST / Math.max(1, runs.length / 4)));
  for (let rest = asked; rest.length; ) {
    const some: Asked[] = [];
    const names = new Set<string>();
    while (rest.length && (names.size === 0 || names.size + rest[0]!.names.length <= most)) {
      const next = rest[0]!;
      rest = rest.slice(1);
      some.push(next);
      for (const name of next.names) names.add(name);
    }
    try {
      const answer = await api.get("/v1/charts", {
        query: { runs, names: [...names], points, times, ...(range ? { first_step: Math.floor(range[0]), last_step: Math.ceil(range[1]) } : {}) },
      });
      for (const one of some) one.resolve(answer.charts.filter((chart) => one.names.includes(chart.name)));
    } catch (error) {
      for (const one of some) one.reject(error);
    }
  }
}

interface Part {
  others?: readonly string[];
  range?: readonly [number, number] | null;
  points?: number;
  times?: boolean;
}

/** The series of one chart: of the run itself and of the runs beside it. */
export function seriesQuery(id: string, names: readonly string[], { others = [], range = null, points = 500, times = true }: Part = {}) {
  return queryOptions({
    queryKey: ["run", id, "charts", names, others, range, points, times],
    queryFn: () => load([id, ...others], names, range, points, times),
  });
}

export function useSeries(run: Run, names: readonly string[], part: Part = {}) {
  return useQuery({ ...seriesQuery(run.id, names, part), placeholderData: keepPreviousData, refetchInterval: again(run) });
}
