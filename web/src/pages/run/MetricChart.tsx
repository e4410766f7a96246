// One card with a chart: some series of the run, and of the runs beside it.
import { useMemo } from "react";

import { number } from "@/format";
import { IconButton, seriesOf, seriesColour, seriesDash, Skeleton } from "@/ui";
import { Chart, type ChartSeries } from "@/ui/Chart";

import { rankOf, smoothed, withoutRank, type ChartGroup } from "./metrics";
import styles from "./run.module.css";
import { useSeries, type RunChart } from "./series";
import type { Run } from "./words";

export type XKind = "step" | "time" | "relative";

export interface Look {
  x: XKind;
  logX: boolean;
  logY: boolean;
  smoothing: number;
  zoom: [number, number] | null;
  onZoom: (zoom: [number, number] | null) => void;
}

export interface Other {
  id: string;
  name: string;
  started: number | null;
}

export function drawn(charts: readonly RunChart[], run: Run, others: readonly Other[], names: readonly string[], look: Pick<Look, "x" | "smoothing">): ChartSeries[] {
  const runs = [{ id: run.id, name: run.name, started: run.started ?? null }, ...others];
  const several = others.length > 0;
  // with one run the colours tell the series apart, with several the runs
  const colours = several ? seriesOf(runs.map((one) => one.id)) : new Map<string, number>();
  const made: ChartSeries[] = [];
  for (const chart of charts) {
    const at = runs.find((one) => one.id === chart.run);
    const index = names.indexOf(chart.name);
    if (!at || index < 0) continue;
    if (look.x !== "step" && chart.times.length < chart.steps.length) continue; // of the axis that was left: the other points are on their way
    const base = at.started ?? chart.times[0] ?? 0;
    const x =
      look.x === "step" ? chart.steps
      : look.x === "time" ? chart.times.map((time) => time / 1e6)
      : chart.times.map((time) => (time - base) / 1e6);
    const values = chart.values as (number | null)[];
    const colour = several ? seriesColour(colours.get(chart.run) ?? 0) : seriesColour(index);
    const dash = several ? seriesDash((index % 4) * 8) : seriesDash(index);
    const label = [several ? at.name : "", names.length > 1 || !several ? said(chart.name, names) : ""].filter(Boolean).join(" · ");
    const order = look.x === "step" ? null : ordered(x);
    const put = (list: (number | null)[]) => (order ? order.map((at) => list[at]!) : list);
    const xs = order ? order.map((at) => x[at]!) : x;
    const id = `${chart.run} ${chart.name}`;
    if (look.smoothing > 0 && values.length > 2) {
      made.push({ id: `${id} raw`, label: `${label}, as logged`, x: xs, y: put(values), colour, faint: true });
      made.push({ id, label, x: xs, y: smoothed(put(values), look.smoothing), colour, dash });
    } else made.push({ id, label, x: xs, y: put(values), colour, dash });
  }
  return made;
}

/** Times need not ascend with the steps: a resumed run goes back. */
function ordered(x: number[]): number[] | null {
  for (let index = 1; index < x.length; index++)
    if (x[index]! < x[index - 1]!) return x.map((_, at) => at).sort((a, b) => x[a]! - x[b]!);
  return null;
}

/** A series by what tells it from the others of its chart. */
function said(name: string, names: readonly string[]): string {
  const rank = rankOf(name);
  return `${withoutRank(name)}${rank || names.some(rankOf) ? ` (rank ${rank})` : ""}`;
}

export function MetricChart({ run, group, others, look, height = 200, onExpand, sync = "run" }: {
  run: Run; group: ChartGroup; others: readonly Other[]; look: Look; height?: number; onExpand?: () => void; sync?: string;
}) {
  const range = look.zoom && look.x === "step" ? look.zoom : null;
  const found = useSeries(run, group.names, { others: others.map((one) => one.id), range, times: look.x !== "step" });
  const series = useMemo(
    () => (found.data ? drawn(found.data, run, others, group.names, look) : []),
    // what of the look matters to the points
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [found.data, run.id, run.name, run.started, others, group.names, look.x, look.smoothing],
  );
  const [first] = group.names;
  const summary = group.names.length === 1 && first !== undefined ? run.metrics[first] : undefined;
  return (
    <figure className={styles.chart} aria-label={group.title} style={{ margin: 0 }}>
      <div className={styles.chartHead}>
        <h4 className="clip" title={group.title}>
          {group.title}
        </h4>
        {summary && !others.length && <span className="quiet small tabular push">{number(summary.last)}</span>}
        {onExpand && (
          <span className={summary && !others.length ? undefined : "push"}>
            <IconButton icon="external" label={`Enlarge ${group.title}`} size="small" onClick={onExpand} />
          </span>
        )}
      </div>
      {found.isPending ? (
        <Skeleton height={height + 22} />
      ) : found.error && !found.data ? (
        <p className="small quiet">The points cannot be read now.</p>
      ) : (
        <Chart
          series={series} label={group.title} height={height} sync={sync}
          x={{ kind: look.x === "time" ? "time" : look.x === "relative" ? "duration" : "number", log: look.logX, label: "step" }}
          y={{ log: look.logY }} zoom={look.zoom} onZoom={look.onZoom}
        />
      )}
    </figure>
  );
}
