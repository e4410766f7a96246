// The comparison that an address names; asked for while the page itself is still being loaded.
import { queryOptions } from "@tanstack/react-query";

import { api } from "@/api/client";
import { queries } from "@/api/query";

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

/** Ask, and do not wait. */
export function begin(ids: string[], system: boolean): void {
  if (isComparison(ids)) void queries.prefetchQuery(comparisonQuery(ids, system));
}
