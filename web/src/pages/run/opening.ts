// The run that an address names, and what its first charts show; asked for while the page itself is still being loaded.
import { queries } from "@/api/query";
import type { Search } from "@/nav";

import { runQuery } from "./context";
import { chartGroups, isLoad } from "./metrics";
import { seriesQuery } from "./series";

/** So many charts are in the window when the tab of the metrics opens. */
const FIRST = 9;

/** Whether the address shows the run's charts as they are at first. */
export function isPlainRun(search: Search): boolean {
  return !(search.with || search.find || search.x || search.zoom);
}

/** Ask, and do not wait; then for the charts that will be seen first. */
export function beginRun(id: string, { charts, together }: { charts: boolean; together: boolean }): void {
  queries.fetchQuery(runQuery(id)).then(
    (run) => {
      if (!charts) return;
      const names = Object.keys(run.metrics).filter((name) => !isLoad(name));
      const groups = chartGroups(names, { together }).flatMap((section) => section.charts);
      for (const group of groups.slice(0, FIRST)) void queries.prefetchQuery(seriesQuery(id, group.names, { times: false }));
    },
    () => undefined, // the page asks again, and says what is wrong
  );
}
