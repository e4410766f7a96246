// What the comparison asks of the server, and what its address says.
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef } from "react";

import type { Schemas } from "@/api/client";
import { useLive } from "@/live";
import { useAddress, type ChangeSearch } from "@/nav";
import { seriesOf } from "@/ui";

import { comparisonQuery, idsOf } from "./opening";

export type Comparison = Schemas["Comparison"];
export type Run = Schemas["Run"];
export type Row = Schemas["ComparedRow"];
export type MetricRow = Schemas["MetricRow"];
export type Summary = Schemas["MetricSummary"];
export type Mismatch = Schemas["Mismatch"];

export const TABS = ["differences", "relations", "why", "code", "packages", "console", "images"] as const;
export type Tab = (typeof TABS)[number];
export const STATISTICS = ["last", "min", "max", "mean"] as const;
export type Statistic = (typeof STATISTICS)[number];
export const AXES = ["step", "time", "relative"] as const;
export type XAxis = (typeof AXES)[number];

export interface State {
  ids: string[];
  tab: Tab;
  /** The run that others are set against: the first one unless said. */
  base: string;
  a: string;
  b: string;
  picked: string[];
  all: boolean;
  system: boolean;
  statistic: Statistic;
  order: string;
  x: XAxis;
  log: boolean;
  smooth: number;
  zoom: [number, number] | null;
  change: ChangeSearch;
  search: Record<string, string | undefined>;
}

function oneOf<T extends string>(options: readonly T[], said: string | undefined): T {
  return options.includes(said as T) ? (said as T) : options[0]!;
}

function range(text: string | undefined): [number, number] | null {
  const [from, to] = (text ?? "").split("..").map(Number);
  return text && Number.isFinite(from) && Number.isFinite(to) && from! < to! ? [from!, to!] : null;
}

/** All that the page shows is in its address, so that Back and a colleague see the same. */
export function useCompareState(): State {
  const [search, change] = useAddress();
  return useMemo(() => {
    const ids = idsOf(search.runs);
    const among = (id: string | undefined) => (id && ids.includes(id) ? id : undefined);
    const base = among(search.base) ?? ids[0] ?? "";
    const a = among(search.a) ?? base;
    const b = among(search.b) ?? ids.find((id) => id !== a) ?? "";
    return {
      ids,
      tab: oneOf(TABS, search.tab),
      base,
      a,
      b,
      picked: idsOf(search.picked).filter((id) => ids.includes(id)),
      all: search.all === "1",
      system: search.system === "1",
      statistic: search.stat ? oneOf(STATISTICS, search.stat) : ("" as Statistic),
      order: search.order ?? "",
      x: oneOf(AXES, search.x),
      log: search.log === "1",
      smooth: Math.min(0.99, Math.max(0, Number(search.smooth) || 0)),
      zoom: range(search.zoom),
      change,
      search,
    };
  }, [search, change]);
}

export function useComparison(ids: string[], system: boolean) {
  return useQuery({ ...comparisonQuery(ids, system), placeholderData: keepPreviousData });
}

/** What runs report makes the comparison stale; several words within a moment are one question; of many runs the moment is longer. */
export function useFresh(ids: string[]): void {
  const client = useQueryClient();
  const timer = useRef<number>(undefined);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const pause = Math.max(600, 100 * ids.length);
  const ask = useCallback(() => {
    if (timer.current !== undefined) return;
    timer.current = window.setTimeout(() => {
      timer.current = undefined;
      void client.invalidateQueries({ queryKey: ["compare"] });
    }, pause);
  }, [client, pause]);
  useLive({ names: ["runs."], subjects: ids }, ask);
}

/** The comparison with its runs in another order. */
export function ordered(given: Comparison, metric: string, statistic: Statistic): Comparison {
  const row = given.metrics.find((one) => one.name === metric);
  if (!row) return given;
  const sign = row.lower_is_better === false ? -1 : 1;
  const places = given.runs.map((_, index) => index);
  places.sort((one, other) => {
    const [left, right] = [statisticOf(row.summaries[one], statistic), statisticOf(row.summaries[other], statistic)];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    return sign * (left - right);
  });
  const moved = <T>(values: T[]): T[] => places.map((place) => values[place]!);
  const back = new Map(places.map((place, index) => [place, index]));
  const moveRow = (one: Row): Row => ({ ...one, values: moved(one.values), absent: (one.absent ?? []).map((place) => back.get(place)!) });
  return {
    ...given,
    runs: moved(given.runs),
    params: given.params.map(moveRow),
    facts: given.facts.map(moveRow),
    packages: given.packages.map(moveRow),
    metrics: given.metrics.map((one) => ({
      ...one,
      summaries: moved(one.summaries),
      best: Object.fromEntries(Object.entries(one.best ?? {}).map(([name, place]) => [name, back.get(place)!])),
    })),
    mismatches: given.mismatches.map((one) => ({ ...one, values: moved(one.values) })),
  };
}

export function statisticOf(summary: Summary | null | undefined, statistic: Statistic): number | null {
  const found = summary?.[statistic];
  return typeof found === "number" && Number.isFinite(found) ? found : null;
}

/** What to show of a metric unless the reader has chosen: the best value where the name tells the direction. */
export function usual(row: MetricRow): Statistic {
  return row.lower_is_better === true ? "min" : row.lower_is_better === false ? "max" : "last";
}

/** A number for each run, by which its colour is chosen; the same wherever the run appears. */
export function useColours(ids: string[]): Map<string, number> {
  const key = ids.join();
  return useMemo(() => seriesOf(key.split(",")), [key]);
}

/** Names of runs; those that several have get the end of the id. */
export function labels(runs: Run[]): Map<string, string> {
  const count = new Map<string, number>();
  for (const run of runs) count.set(run.name, (count.get(run.name) ?? 0) + 1);
  return new Map(runs.map((run) => [run.id, count.get(run.name)! > 1 ? `${run.name} ${run.id.slice(-4)}` : run.name]));
}
