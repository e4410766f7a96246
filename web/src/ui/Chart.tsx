// Curves: uPlot on a canvas, themed, with values under the cursor written straight into the page (no React at 60 frames).
import "uplot/dist/uPlot.min.css";

import { memo, useEffect, useLayoutEffect, useMemo, useRef, type KeyboardEvent } from "react";
import uPlot from "uplot";

import { absolute, duration, number } from "@/format";

import styles from "./Chart.module.css";
import { resolveColour, seriesColour, seriesDash } from "./colours";
import { useDark } from "./theme";

export interface ChartSeries {
  id: string;
  label: string;
  /** Ascending; not necessarily that of the other series. */
  x: ArrayLike<number>;
  /** null where there is no value that can be drawn (NaN, infinite): the line has a gap there. */
  y: ArrayLike<number | null>;
  /** A CSS value or `var(--…)`; by default that of the position. */
  colour?: string;
  dash?: number[];
  width?: number;
  /** Without a place in the legend and thinner: the raw points under a smoothed curve. */
  faint?: boolean;
  /** A shaded area around the line, such as an interval over seeds; as long as x. */
  low?: ArrayLike<number | null>;
  high?: ArrayLike<number | null>;
}

export interface Axis {
  /** x: "time" are seconds since 1970, "duration" are seconds; y: by default plain numbers. */
  kind?: "number" | "time" | "duration";
  log?: boolean;
  label?: string;
  /** Fixed ends, such as [0, 1]; null leaves one open. */
  range?: [number | null, number | null];
  format?: (value: number) => string;
}

export interface ChartProps {
  series: ChartSeries[];
  /** What is drawn, in words. */
  label: string;
  x?: Axis;
  y?: Axis;
  height?: number;
  /** Charts with the same key share the cursor. */
  sync?: string;
  /** The part of x that is shown; null is all. With `onZoom` the owner keeps it, e.g. in the address. */
  zoom?: [number, number] | null;
  onZoom?: (range: [number, number] | null) => void;
  /** The series nearest to the cursor and where it is; null when the pointer leaves. */
  onHover?: (at: { id: string; x: number; y: number } | null) => void;
  onPick?: (id: string) => void;
  legend?: boolean;
}

export const Chart = memo(function Chart({
  series, label, x = {}, y = {}, height = 200, sync, zoom, onZoom, onHover, onPick, legend = true,
}: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const key = useRef<HTMLDivElement>(null);
  const dark = useDark();
  const latest = useRef({ onZoom, onHover, onPick, zoom, series, x, y });
  useLayoutEffect(() => {
    latest.current = { onZoom, onHover, onPick, zoom, series, x, y };
  });

  const data = useMemo(() => aligned(series, x.log ?? false, y.log ?? false), [series, x.log, y.log]);
  const drawable = data[0]!.length > 0;
  // what needs a new plot; new points alone do not
  const shape = JSON.stringify([
    series.map((one) => [one.id, one.label, one.colour, one.dash, one.width, one.faint, !!one.low]),
    x.kind, x.log, x.label, x.range, y.kind, y.log, y.label, y.range, sync, dark, drawable,
  ]);

  useEffect(() => {
    const node = place.current;
    if (!node || !drawable) return;
    const now = latest.current;
    const made = new uPlot(options(now.series, now.x, now.y, node.clientWidth || 300, height, sync, latest, key), data as uPlot.AlignedData, node);
    plot.current = made;
    if (now.zoom) made.setScale("x", { min: now.zoom[0], max: now.zoom[1] });
    else around(made, now.x);
    const watch = new ResizeObserver(() => {
      if (node.clientWidth && node.clientWidth !== made.width) made.setSize({ width: node.clientWidth, height });
    });
    watch.observe(node);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
    // `data` is handed over below when only points have changed
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [shape, height]);

  const drawn = useRef(data);
  useEffect(() => {
    if (drawn.current === data || !plot.current) return;
    drawn.current = data;
    const made = plot.current;
    if (made.data.length !== data.length) return;
    const zoomed = latest.current.zoom;
    made.setData(data as uPlot.AlignedData, !zoomed);
    if (zoomed) made.setScale("x", { min: zoomed[0], max: zoomed[1] });
    else around(made, latest.current.x);
  }, [data]);

  const [from, to] = zoom ?? [undefined, undefined];
  useEffect(() => {
    const made = plot.current;
    if (!made || zoom === undefined) return;
    if (from !== undefined && to !== undefined) made.setScale("x", { min: from, max: to });
    else made.setData(made.data);
  }, [from, to, zoom]);

  const named = series.filter((one) => !one.faint);
  return (
    <div className={styles.chart}>
      {drawable ? (
        <div
          ref={place} className={styles.plot} style={{ height }} tabIndex={0} role="group" aria-roledescription="chart"
          aria-label={`${label}. ${inWords(named)}`} onKeyDown={(event) => steer(event, plot.current, latest.current.onZoom)}
          onBlur={() => plot.current?.setCursor({ left: -10, top: -10 })}
        />
      ) : (
        <div className={styles.none} style={{ height }}>
          {series.length ? "No finite value to draw" : "Nothing to draw"}
        </div>
      )}
      {legend && drawable && (
        <div ref={key} className={styles.legend}>
          {named.map((one) => {
            const inside = (
              <>
                <span className={styles.swatch} style={{ borderTopColor: one.colour ?? seriesColour(series.indexOf(one)), borderTopStyle: one.dash?.length ? "dashed" : "solid" }} />
                <span className={styles.name}>{one.label}</span>
                <span className={styles.value} data-value={one.id} />
              </>
            );
            return onPick ? (
              <button key={one.id} type="button" className={styles.entry} title={one.label} data-entry={one.id} onClick={() => onPick(one.id)}>
                {inside}
              </button>
            ) : (
              <span key={one.id} className={styles.entry} title={one.label} data-entry={one.id}>
                {inside}
              </span>
            );
          })}
          <span className={styles.at} />
        </div>
      )}
    </div>
  );
});

/** A single moment has half an hour on both sides. */
function around(plot: uPlot, x: Axis): void {
  const [only, other] = plot.data[0];
  if (x.kind === "time" && only !== undefined && other === undefined) plot.setScale("x", { min: only - 1800, max: only + 1800 });
}

function inWords(series: ChartSeries[]): string {
  return series
    .slice(0, 4)
    .map((one) => {
      let low = Infinity;
      let high = -Infinity;
      let last: number | null = null;
      for (let index = 0; index < one.y.length; index++) {
        const value = one.y[index];
        if (value === null || value === undefined || !Number.isFinite(value)) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
        last = value;
      }
      return last === null ? `${one.label}: no finite value` : `${one.label}: last ${number(last)}, lowest ${number(low)}, highest ${number(high)}`;
    })
    .join("; ");
}

type Column = (number | null | undefined)[];

/** One common x for all series; undefined where a series has no point of its own, null where its line breaks. */
function aligned(series: ChartSeries[], logX: boolean, logY: boolean): Column[] {
  const fits = (value: number | null | undefined, log: boolean) =>
    value !== null && value !== undefined && Number.isFinite(value) && (!log || value > 0) ? value : null;
  const tables: uPlot.AlignedData[] = [];
  let any = false;
  for (const one of series) {
    const xs: number[] = [];
    const columns: Column[] = one.low && one.high ? [[], [], []] : [[]];
    for (let index = 0; index < one.x.length; index++) {
      const at = fits(one.x[index], logX);
      if (at === null) continue;
      const value = fits(one.y[index], logY);
      any ||= value !== null;
      if (xs.length && at === xs[xs.length - 1]) {
        columns[0]![xs.length - 1] = value; // two points at one place: the later is what counts
        continue;
      }
      xs.push(at);
      columns[0]!.push(value);
      if (columns.length === 3) {
        columns[1]!.push(fits(one.low![index], logY));
        columns[2]!.push(fits(one.high![index], logY));
      }
    }
    tables.push([xs, ...columns] as uPlot.AlignedData);
  }
  if (!any) return [[]];
  if (tables.length === 1) return tables[0] as unknown as Column[];
  return uPlot.join(tables, tables.map((table) => table.map(() => 1))) as unknown as Column[];
}

function ticksOf(axis: Axis): (value: number) => string {
  if (axis.format) return axis.format;
  if (axis.kind === "duration") return (value) => duration(value);
  return (value) => (Math.abs(value) >= 1e6 ? compact(value) : number(value, 5));
}

function compact(value: number): string {
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"]] as const)
    if (Math.abs(value) >= size) return `${number(value / size, 4)} ${unit}`;
  return number(value);
}

function options(
  series: ChartSeries[], x: Axis, y: Axis, width: number, height: number, sync: string | undefined,
  latest: { current: Pick<ChartProps, "onZoom" | "onHover" | "onPick" | "zoom" | "series" | "x" | "y"> },
  key: { current: HTMLDivElement | null },
): uPlot.Options {
  const ink = resolveColour("var(--quiet)");
  const line = resolveColour("var(--line)");
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const drawn: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  const owner: number[] = [-1];
  series.forEach((one, index) => {
    const colour = resolveColour(one.colour ?? seriesColour(index));
    drawn.push({
      label: one.label,
      stroke: one.faint ? `${toHex(colour)}55` : colour,
      width: one.width ?? (one.faint ? 1 : 1.75),
      dash: one.dash ?? (one.colour ? [] : seriesDash(index)),
      points: { show: one.x.length === 1, size: 6 },
      spanGaps: false,
    });
    owner.push(index);
    if (one.low && one.high) {
      const edge = { stroke: "transparent", width: 0, points: { show: false } };
      drawn.push(edge, edge);
      owner.push(-1, -1);
      bands.push({ series: [drawn.length - 1, drawn.length - 2], fill: `${toHex(colour)}2e` });
    }
  });
  const scaleY: uPlot.Scale = y.log
    ? { distr: 3, log: 10 }
    : {
        range: (_, low, high) => {
          if (low === null || high === null) return [0, 1];
          const pad = high === low ? Math.abs(high) * 0.1 || 1 : (high - low) * 0.06;
          return [y.range?.[0] ?? low - pad, y.range?.[1] ?? high + pad];
        },
      };
  const tickX = ticksOf(x);
  const tickY = ticksOf(y);
  let near = -1;
  let asked = 0;
  const write = (self: uPlot) => {
    asked = 0;
    const { idx, left, top } = self.cursor;
    const inside = idx !== null && idx !== undefined && left !== undefined && left !== null && left >= 0;
    let best = -1;
    let distance = Infinity;
    const values: (number | null)[] = [];
    for (let column = 1; column < drawn.length; column++) {
      if (owner[column]! < 0) continue;
      const at = inside ? (self.cursor.idxs?.[column] ?? idx) : null;
      const value = at === null || at === undefined ? null : (self.data[column]![at] ?? null);
      values[owner[column]!] = value;
      if (value === null || top === undefined || top === null || top < 0) continue;
      const away = Math.abs(self.valToPos(value, "y") - top);
      if (away < distance) {
        distance = away;
        best = owner[column]!;
      }
    }
    const list = key.current;
    if (list) {
      const place = list.lastElementChild as HTMLElement;
      const at = inside ? self.data[0]![idx!]! : null;
      place.textContent =
        at === null || at === undefined ? "" : x.kind === "time" ? absolute(at * 1e6) : x.kind === "duration" ? `after ${duration(at)}` : `${x.label ?? "step"} ${tickX(at)}`;
      for (const one of list.querySelectorAll<HTMLElement>("[data-value]")) {
        const index = series.findIndex((other) => other.id === one.dataset.value);
        const value = values[index];
        one.textContent = value === null || value === undefined ? "" : number(value);
        one.parentElement!.dataset.focus = String(index === best && distance < 24);
      }
    }
    const hit = best >= 0 && distance < 24 ? best : -1;
    if (hit < 0 && near < 0) return;
    near = hit;
    latest.current.onHover?.(hit < 0 ? null : { id: series[hit]!.id, x: self.data[0]![idx!]!, y: values[hit]! });
  };
  return {
    width,
    height,
    pxAlign: 0,
    legend: { show: false },
    padding: [8, x.kind === "time" ? 20 : 8, 0, 0],
    focus: { alpha: 1 },
    scales: {
      x: x.log ? { time: false, distr: 3, log: 10 } : { time: x.kind === "time" },
      y: scaleY,
    },
    series: drawn,
    bands,
    axes: [
      {
        stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: x.kind === "time" ? 40 : 28, gap: 4, space: 70,
        ...(x.kind === "duration" ? { incrs: DURATIONS } : {}),
        ...(x.kind === "time" ? { values: TIMES } : { values: (_, splits) => splits.map((value) => (value === null ? "" : tickX(value))) }),
      },
      {
        stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, gap: 6,
        size: (self, values) => {
          if (!values?.length) return 40;
          self.ctx.save();
          self.ctx.font = self.axes[1]!.font![0] as unknown as string;
          const widest = Math.max(...values.map((value) => self.ctx.measureText(value ?? "").width));
          self.ctx.restore();
          // below the first moment stands its date, half of it to the left
          return Math.max(x.kind === "time" ? 42 : 0, Math.ceil(widest / devicePixelRatio) + 14);
        },
        values: (_, splits) => splits.map((value) => (value === null ? "" : tickY(value))),
      },
    ],
    cursor: {
      y: false,
      drag: { x: true, y: false, setScale: false },
      points: { size: 7, width: 2 },
      dataIdx: (self, column, hovered) => nearest(self, column, hovered),
      ...(sync ? { sync: { key: sync, setSeries: false, scales: ["x", null] } } : {}),
      bind: {
        dblclick: (self) => () => {
          self.setData(self.data);
          latest.current.onZoom?.(null);
          return null;
        },
      },
    },
    hooks: {
      init: [
        (self) => {
          let pressed = 0;
          self.over.addEventListener("pointerdown", (event) => (pressed = event.clientX));
          self.over.addEventListener("click", (event) => {
            // the end of a drag is not a click
            if (near >= 0 && Math.abs(event.clientX - pressed) < 4) latest.current.onPick?.(series[near]!.id);
          });
        },
      ],
      setCursor: [
        (self) => {
          if (!asked) asked = requestAnimationFrame(() => write(self));
        },
      ],
      setSelect: [
        (self) => {
          if (self.select.width < 4) return;
          const from = self.posToVal(self.select.left, "x");
          const to = self.posToVal(self.select.left + self.select.width, "x");
          self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          self.setScale("x", { min: from, max: to });
          latest.current.onZoom?.([from, to]);
        },
      ],
      destroy: [() => cancelAnimationFrame(asked)],
    },
  };
}

/** Steps of an axis in seconds that people count in. */
const DURATIONS = [0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];

// uPlot's templates: the least step in seconds, the tick, and what stands below it where the year, month, day … changes
const TIMES: uPlot.Axis.Values = [
  [31536000, "{YYYY}", null, null, null, null, null, null, 1],
  [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [0.001, ":{ss}.{fff}", "\n{D} {MMM} {YYYY} {HH}:{mm}", null, "\n{D} {MMM} {HH}:{mm}", null, "\n{HH}:{mm}", null, 1],
];

/** How far, in pixels, the cursor may be beyond the end of a curve and still read its last value. */
const BEYOND = 12;
const positions = new WeakMap<object, Int32Array>();

/** Where a series has its own point nearest to the cursor; null beyond its ends. */
function nearest(plot: uPlot, column: number, hovered: number): number | null {
  const values = plot.data[column]!;
  if (column === 0 || (values[hovered] !== null && values[hovered] !== undefined)) return hovered;
  let own = positions.get(values);
  if (!own) {
    const found: number[] = [];
    for (let index = 0; index < values.length; index++) if (values[index] !== null && values[index] !== undefined) found.push(index);
    own = Int32Array.from(found);
    positions.set(values, own);
  }
  let low = 0;
  let high = own.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (own[middle]! < hovered) low = middle + 1;
    else high = middle;
  }
  const xs = plot.data[0]!;
  const at = (index: number) => plot.valToPos(xs[index]!, "x");
  const cursor = plot.cursor.left ?? 0;
  const before = low > 0 ? own[low - 1]! : undefined;
  const after = low < own.length ? own[low]! : undefined;
  if (before === undefined && after === undefined) return null;
  if (before === undefined) return at(after!) - cursor <= BEYOND ? after! : null;
  if (after === undefined) return cursor - at(before) <= BEYOND ? before : null;
  return xs[hovered]! - xs[before]! <= xs[after]! - xs[hovered]! ? before : after;
}

/** Arrow keys move the cursor, + and - zoom around it, 0 or Escape shows all again. */
function steer(event: KeyboardEvent, plot: uPlot | null, onZoom: ChartProps["onZoom"]): void {
  if (!plot || event.ctrlKey || event.metaKey || event.altKey) return;
  const xs = plot.data[0]!;
  const { min, max } = plot.scales.x!;
  if (!xs.length || min === undefined || max === undefined || min === null || max === null) return;
  const zoom = (from: number, to: number) => {
    plot.setScale("x", { min: from, max: to });
    onZoom?.([from, to]);
  };
  const current = plot.cursor.left !== undefined && plot.cursor.left >= 0 ? plot.cursor.idx : null;
  const middle = current === null || current === undefined ? (min + max) / 2 : xs[current]!;
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    const by = (event.key === "ArrowRight" ? 1 : -1) * (event.shiftKey ? Math.max(1, Math.round(xs.length / 20)) : 1);
    const next = current === null || current === undefined ? (by > 0 ? 0 : xs.length - 1) : Math.min(xs.length - 1, Math.max(0, current + by));
    plot.setCursor({ left: plot.valToPos(xs[next]!, "x"), top: plot.over.clientHeight / 2 });
  } else if (event.key === "+" || event.key === "=") zoom(middle - (middle - min) / 2, middle + (max - middle) / 2);
  else if (event.key === "-") zoom(Math.max(xs[0]!, middle - (middle - min) * 2), Math.min(xs[xs.length - 1]!, middle + (max - middle) * 2));
  else if (event.key === "0") {
    plot.setData(plot.data);
    onZoom?.(null);
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

function toHex(colour: string): string {
  return /^#[0-9a-f]{6}$/i.test(colour) ? colour : /^#[0-9a-f]{3}$/i.test(colour) ? colour.replace(/[0-9a-f]/gi, "$&$&") : "#888888";
}
