// The comparison that an address names; asked for while the page itself is still being loaded.
import { queryOptions } from "@tanstack/react-query";

import { api, type Schemas } from "@/api/client";
import { queries } from "@/api/query";
import type { Search } from "@/nav";

export const MOST = 50;

export function idsOf(text: string | undefined): string[] {
  return [...new Set((text ?? "").split(",").filter(Boolean))];
}

export function comparisonQuery(ids: string[], system: boolean) {
  return queryOptions({
    queryKey: ["compare", "rows", ids, system],
    queryFn: ({ signal }) => api.get("/v1/compare", { query: { runs: ids, system }, signal }),
    enabled: isComparison(ids),
  });
}

export function isComparison(ids: string[]): boolean {
  return ids.length >= 2 && ids.length <= MOST;
}

/** The curves of one metric; `part` are the first and the last step where not all are wanted. */
export function curvesQuery(ids: string[], name: string, { times, part }: { times: boolean; part: { first_step?: number; last_step?: number } }) {
  return queryOptions({
    queryKey: ["compare", "charts", ids, name, part, times],
    queryFn: ({ signal }) => api.get("/v1/charts", { query: { runs: ids, names: [name], points: 250, times, ...part }, signal }),
  });
}

/** The metrics that have curves, in the order in which they are shown. */
export function curved(comparison: Schemas["Comparison"]): string[] {
  return comparison.metrics.filter((row) => row.summaries.some((one) => one && one.count > 1)).map((row) => row.name);
}

/** Whether the address shows the curves as they are at first. */
export function isPlain(search: Search): boolean {
  return !(search.tab || search.x || search.zoom || search.metric);
}

/** So many charts are in the window when the page opens. */
const FIRST = 3;

/** Ask, and do not wait; then for the curves that will be seen first, if the address speaks of nothing else. */
export function begin(ids: string[], system: boolean, plain: boolean): void {
  if (!isComparison(ids)) return;
  const asked = queries.fetchQuery(comparisonQuery(ids, system));
  asked.then(
    (comparison) => {
      if (!plain) return;
      for (const name of curved(comparison).slice(0, FIRST)) void queries.prefetchQuery(curvesQuery(ids, name, { times: false, part: {} }));
    },
    () => undefined, // the page asks again, and says what is wrong
  );
}
