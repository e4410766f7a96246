// Overlaid curves of every metric; a curve under the pointer tells in what its run differs, a click leads to its code.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useCallback, useMemo, useRef, useState } from "react";

import { number, value } from "@/format";
import { Button, Card, Checkbox, ProblemBanner, SearchBox, Segments, Select, seriesColour, seriesDash, Skeleton, Visible } from "@/ui";
import { Chart, type ChartSeries } from "@/ui/Chart";

import styles from "./compare.module.css";
import { AXES, labels, type Comparison, type State } from "./data";
import { curved, curvesQuery } from "./opening";
import { Swatch } from "./RunTable";

const HEIGHT = 230;
const SMOOTH = ["0", "0.6", "0.9", "0.97"];

export function Curves({ comparison, state, colours }: { comparison: Comparison; state: State; colours: Map<string, number> }) {
  const { change } = state;
  const sought = (state.search.metric ?? "").toLowerCase();
  const names = curved(comparison);
  const shown = names.filter((name) => name.toLowerCase().includes(sought));
  if (!names.length) return null;
  return (
    <section className="stack" aria-label="Curves">
      <div className={styles.controls}>
        <h2>Curves</h2>
        {names.length > 4 && <SearchBox label="Metrics" value={state.search.metric ?? ""} onChange={(metric) => change({ metric }, { replace: true })} focusKey="" />}
        <span className={styles.control}>
          <Segments label="Axis" value={state.x} onChange={(x) => change({ x: x === "step" ? undefined : x, zoom: undefined }, { replace: true })} options={AXES.map((id) => ({ id, label: id }))} />
        </span>
        <label className={styles.control}>
          Smoothing
          <Select value={SMOOTH.includes(String(state.smooth)) ? String(state.smooth) : "0"} onChange={(event) => change({ smooth: event.target.value === "0" ? undefined : event.target.value }, { replace: true })}>
            {SMOOTH.map((one) => (
              <option key={one} value={one}>
                {one === "0" ? "none" : one}
              </option>
            ))}
          </Select>
        </label>
        <Checkbox label="log" checked={state.log} onChange={(event) => change({ log: event.target.checked ? "1" : undefined }, { replace: true })} />
        {state.zoom && (
          <Button size="small" onClick={() => change({ zoom: undefined })}>
            Show all steps
          </Button>
        )}
      </div>
      {!shown.length && <p className="quiet">No metric has “{sought}” in its name.</p>}
      <div className={styles.charts}>
        {shown.map((name) => (
          <Card key={name} className={styles.chart}>
            <h3>{name}</h3>
            <Visible height={HEIGHT + 60}>
              <Curve name={name} comparison={comparison} state={state} colours={colours} />
            </Visible>
          </Card>
        ))}
      </div>
    </section>
  );
}

function Curve({ name, comparison, state, colours }: { name: string; comparison: Comparison; state: State; colours: Map<string, number> }) {
  const { x, zoom, smooth, log, change, base, ids } = state;
  const { runs } = comparison;
  const part = x === "step" && zoom ? { first_step: Math.floor(zoom[0]), last_step: Math.ceil(zoom[1]) } : {};
  const query = useQuery({ ...curvesQuery(ids, name, { times: x !== "step", part }), placeholderData: keepPreviousData });
  const series = useMemo<ChartSeries[]>(() => {
    const names = labels(runs);
    const started = new Map(runs.map((run) => [run.id, run.started ?? run.created]));
    const found = new Map(query.data?.charts.map((one) => [one.run, one]));
    return runs.flatMap((run) => {
      const curve = found.get(run.id);
      if (!curve) return [];
      if (x !== "step" && curve.times.length < curve.steps.length) return []; // of the axis that was left: the other points are on their way
      const at = x === "step" ? curve.steps : curve.times.map((time) => (x === "time" ? time : time - started.get(run.id)!) / 1e6);
      const index = colours.get(run.id) ?? 0;
      return [{ id: run.id, label: names.get(run.id)!, x: at, y: smooth ? smoothed(curve.values, smooth) : curve.values, colour: seriesColour(index), dash: seriesDash(index) }];
    });
  }, [query.data, runs, colours, x, smooth]);

  const [hovered, setHovered] = useState<{ id: string; x: number; y: number } | null>(null);
  // the cursor is shared with the other charts; the card belongs to the one under the pointer
  const [inside, setInside] = useState(false);
  const card = useRef<HTMLDivElement>(null);
  const pointer = useRef({ x: 0, y: 0 });
  const place = useCallback(() => {
    const node = card.current;
    if (!node) return;
    const { x: left, y: top } = pointer.current;
    const { width, height } = node.getBoundingClientRect();
    const right = left + 18 + width > window.innerWidth ? left - width - 18 : left + 18;
    const down = Math.min(top + 14, window.innerHeight - height - 8);
    node.style.transform = `translate(${Math.max(8, right)}px, ${Math.max(8, down)}px)`;
  }, []);
  const onZoom = useCallback((next: [number, number] | null) => change({ zoom: next ? `${round(next[0])}..${round(next[1])}` : undefined }), [change]);
  const onPick = useCallback(
    (id: string) => {
      const other = id === base ? (ids.find((one) => one !== id) ?? "") : base;
      change({ tab: "code", a: other, b: id });
    },
    [change, base, ids],
  );

  if (query.error) return <ProblemBanner error={query.error} />;
  if (!query.data) return <Skeleton height={HEIGHT} />;
  const run = inside && hovered && runs.find((one) => one.id === hovered.id);
  return (
    <div
      onPointerMove={(event) => {
        pointer.current = { x: event.clientX, y: event.clientY };
        place();
      }}
      onPointerEnter={() => setInside(true)}
      onPointerLeave={() => setInside(false)}
    >
      <Chart
        label={`${name} by ${x}`} series={series} height={HEIGHT} sync={`compare-${x}`} x={{ kind: x === "time" ? "time" : x === "relative" ? "duration" : "number" }}
        y={{ log }} zoom={zoom} onZoom={onZoom} onHover={setHovered} onPick={onPick}
      />
      {run && (
        <div ref={(node) => { card.current = node; place(); }} className={styles.hover} aria-hidden="true">
          <div className="row">
            <Swatch index={colours.get(run.id) ?? 0} />
            <strong className="clip">{run.name}</strong>
            <span className="push tabular">{number(hovered.y)}</span>
          </div>
          <HoverParams comparison={comparison} id={run.id} base={base} />
          <div className="quiet">Click: its code beside {run.id === base ? "the next" : "the baseline"}</div>
        </div>
      )}
    </div>
  );
}

/** The parameters in which a run differs from the baseline; of the baseline all that differ anywhere. */
function HoverParams({ comparison, id, base }: { comparison: Comparison; id: string; base: string }) {
  const at = comparison.runs.findIndex((run) => run.id === id);
  const from = comparison.runs.findIndex((run) => run.id === base);
  const rows = comparison.params.filter((row) => row.differs && (at === from || JSON.stringify(row.values[at]) !== JSON.stringify(row.values[from])));
  if (!rows.length) return <div className="quiet">Its parameters are those of the baseline.</div>;
  return (
    <dl>
      {rows.slice(0, 8).map((row) => (
        <div key={row.name} style={{ display: "contents" }}>
          <dt>{row.name}</dt>
          <dd>
            {cut(row.absent?.includes(at) ? "–" : value(row.values[at]))}
            {at !== from && <span className="quiet"> was {cut(row.absent?.includes(from) ? "–" : value(row.values[from]))}</span>}
          </dd>
        </div>
      ))}
      {rows.length > 8 && <dd>and {rows.length - 8} more</dd>}
    </dl>
  );
}

function cut(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function round(at: number): number {
  return Number(at.toPrecision(12));
}

/** Exponential moving average, corrected for its beginning; a gap stays one. */
function smoothed(values: (number | null)[], weight: number): (number | null)[] {
  let mean = 0;
  let sum = 0;
  return values.map((one) => {
    if (one === null || !Number.isFinite(one)) return one;
    mean = weight * mean + (1 - weight) * one;
    sum = weight * sum + (1 - weight);
    return mean / sum;
  });
}
