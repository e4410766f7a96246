// One run and where its page keeps its state: in the address, or, beside a table, in the panel itself.
import { useQuery } from "@tanstack/react-query";
import { createContext, useContext } from "react";

import { api } from "@/api/client";
import type { ChangeSearch, Search } from "@/nav";

import type { Run } from "./words";

export type TabId =
  | "overview" | "metrics" | "params" | "console" | "samples" | "artifacts" | "code" | "environment" | "machine" | "lineage" | "events";

export interface Place {
  id: string;
  run: Run;
  /** Values that Back brings back; kept in the panel where the page is not the run's own. */
  values: Search;
  change: ChangeSearch;
  openTab: (tab: TabId, values?: Search) => void;
  /** Beside a table. */
  panel: boolean;
}

export const PlaceContext = createContext<Place | null>(null);

export function usePlace(): Place {
  const place = useContext(PlaceContext);
  if (!place) throw new Error("a part of the run page stands outside of it");
  return place;
}

export const FINAL = new Set(["completed", "failed", "stopped"]);

/** While a run goes on its queries are asked again by themselves too, should no live event come through. */
export function again(run: Pick<Run, "status">, seconds = 10): number | false {
  return run.status === "running" ? seconds * 1000 : false;
}

export function runQuery(id: string) {
  return { queryKey: ["run", id], queryFn: ({ signal }: { signal: AbortSignal }) => api.get("/v1/runs/{run_id}", { params: { run_id: id }, signal }) };
}

export function useRun(id: string) {
  return useQuery({
    ...runQuery(id),
    refetchInterval: (query) => (query.state.data && query.state.data.status === "running" ? 10_000 : false),
  });
}

/** A fact as a record of values; empty where it is none. */
export function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}
