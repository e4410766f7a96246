// Scatter, parallel coordinates, boxes, bars: ECharts, loaded when the first one is shown.
import { useEffect, useLayoutEffect, useRef } from "react";

import { resolveColour } from "./colours";
import type { EChartsCoreOption, EChartsType } from "./echarts";
import { useDark } from "./theme";

export interface EChartProps {
  /** ECharts' option; colours may be `var(--…)`. Tooltips are drawn on the canvas (`renderMode: "richText"`). */
  option: EChartsCoreOption;
  /** What is drawn, in words. */
  label: string;
  height?: number;
  onEvents?: Record<string, (event: { data?: unknown; dataIndex?: number; seriesIndex?: number; seriesName?: string; name?: string }) => void>;
}

export function EChart({ option, label, height = 320, onEvents }: EChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<EChartsType>(null);
  const dark = useDark();
  const latest = useRef({ option, onEvents });
  useLayoutEffect(() => {
    latest.current = { option, onEvents };
  });
  useEffect(() => {
    const node = place.current!;
    let gone = false;
    let watch: ResizeObserver | undefined;
    void import("./echarts").then(({ init }) => {
      if (gone) return;
      const made = init(node, null, { renderer: "canvas" });
      chart.current = made;
      for (const name of Object.keys(latest.current.onEvents ?? {}))
        made.on(name, (event) => latest.current.onEvents?.[name]?.(event as never));
      made.setOption(themed(latest.current.option), { notMerge: true });
      watch = new ResizeObserver(() => made.resize());
      watch.observe(node);
    });
    return () => {
      gone = true;
      watch?.disconnect();
      chart.current?.dispose();
      chart.current = null;
    };
  }, [dark]);
  useEffect(() => {
    chart.current?.setOption(themed(option), { notMerge: true });
  }, [option]);
  return <div ref={place} style={{ height, width: "100%" }} role="img" aria-label={label} />;
}

function themed(option: EChartsCoreOption): EChartsCoreOption {
  const ink = resolveColour("var(--ink)");
  const quiet = resolveColour("var(--quiet)");
  const line = resolveColour("var(--line)");
  const axis = { axisLine: { lineStyle: { color: line } }, axisLabel: { color: quiet }, nameTextStyle: { color: quiet }, splitLine: { lineStyle: { color: line } } };
  const own = resolved(option) as Record<string, unknown>;
  const each = (given: unknown) =>
    Array.isArray(given) ? given.map((one) => merged(axis, one)) : given ? merged(axis, given) : undefined;
  const told: Record<string, unknown> = {
    backgroundColor: "transparent",
    textStyle: { color: ink, fontFamily: getComputedStyle(document.body).fontFamily },
    color: Array.from({ length: 8 }, (_, index) => resolveColour(`var(--series-${index + 1})`)),
    animation: false,
    ...own,
  };
  for (const name of ["xAxis", "yAxis", "parallelAxis"]) if (own[name]) told[name] = each(own[name]);
  if (own.tooltip)
    told.tooltip = merged(
      { backgroundColor: resolveColour("var(--raised)"), borderColor: line, textStyle: { color: ink, fontSize: 12 }, confine: true },
      { ...(own.tooltip as object), renderMode: "richText" },
    );
  if (own.legend) told.legend = merged({ textStyle: { color: quiet } }, own.legend);
  return told;
}

function merged(base: unknown, over: unknown): unknown {
  if (!isPlain(base) || !isPlain(over)) return over ?? base;
  const made: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(over)) made[name] = merged(made[name], value);
  return made;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function resolved(value: unknown): unknown {
  if (typeof value === "string") return value.startsWith("var(--") ? resolveColour(value) : value;
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(resolved);
  return isPlain(value) ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, resolved(inner)])) : value;
}
