// How results go with parameters: scatter, parallel coordinates, boxes over repetitions.
import { useMemo } from "react";

import { number, value } from "@/format";
import { Card, Num, Segments, Select, seriesColour } from "@/ui";
import { EChart } from "@/ui/EChart";

import styles from "./compare.module.css";
import { labels, statisticOf, usual, type Comparison, type State } from "./data";
import { spread, type Spread } from "./spread";

const KINDS = ["scatter", "parallel", "boxes"] as const;
type Kind = (typeof KINDS)[number];
const MOST_AXES = 9;

type Cell = string | number | null;

interface Axis {
  name: string;
  cells: Cell[];
  numeric: boolean;
  differs: boolean;
}

export function Relations({ comparison, state, colours }: { comparison: Comparison; state: State; colours: Map<string, number> }) {
  const { change, search } = state;
  const kind: Kind = KINDS.includes(search.kind as Kind) ? (search.kind as Kind) : "scatter";
  const params = useMemo<Axis[]>(
    () =>
      comparison.params.map((row) => {
        const said = row.values.filter((_, index) => !row.absent?.includes(index));
        const numeric = said.length > 0 && said.every((one) => typeof one === "number");
        const cells = row.values.map((one, index): Cell => (row.absent?.includes(index) ? null : numeric ? (one as number) : value(one)));
        return { name: `params.${row.name}`, cells, numeric, differs: row.differs ?? false };
      }),
    [comparison],
  );
  const metrics = useMemo<Axis[]>(
    () =>
      comparison.metrics.map((row) => ({
        name: row.name,
        cells: row.summaries.map((one) => statisticOf(one, state.statistic || usual(row))),
        numeric: true,
        differs: true,
      })),
    [comparison, state.statistic],
  );
  const axes = [...params, ...metrics];
  const named = (said: string | undefined, fallback: Axis | undefined) => axes.find((axis) => axis.name === said) ?? fallback;
  const y = named(search.y, metrics[0]);
  const x = named(search.across, params.find((axis) => axis.differs && axis.numeric) ?? params.find((axis) => axis.differs) ?? metrics[1] ?? metrics[0]);
  if (!y || !x) return <p className="quiet">There is no metric to draw.</p>;
  const choose = (label: string, chosen: string, key: string, options: Axis[]) => (
    <label className={styles.control}>
      {label}
      <Select value={chosen} onChange={(event) => change({ [key]: event.target.value }, { replace: true })}>
        {options.map((axis) => (
          <option key={axis.name}>{axis.name}</option>
        ))}
      </Select>
    </label>
  );
  return (
    <div className={styles.panel}>
      <div className={styles.controls}>
        <Segments label="Kind of chart" value={kind} onChange={(next) => change({ kind: next === "scatter" ? undefined : next })} options={KINDS.map((id) => ({ id, label: id === "parallel" ? "parallel coordinates" : id }))} />
        {kind === "scatter" && choose("Across", x.name, "across", axes)}
        {choose(kind === "scatter" ? "Up" : "Metric", y.name, "y", kind === "scatter" ? axes : metrics)}
      </div>
      {kind === "scatter" && <Scatter comparison={comparison} x={x} y={y} colours={colours} />}
      {kind === "parallel" && <Parallel comparison={comparison} params={params} y={y} colours={colours} />}
      {kind === "boxes" && <Boxes comparison={comparison} params={params} y={y} state={state} />}
    </div>
  );
}

function Scatter({ comparison, x, y, colours }: { comparison: Comparison; x: Axis; y: Axis; colours: Map<string, number> }) {
  const names = labels(comparison.runs);
  const option = useMemo(
    () => ({
      grid: { left: 70, right: 24, top: 16, bottom: 46 },
      tooltip: { trigger: "item", formatter: (point: { seriesName: string; data: unknown[] }) => `${point.seriesName}\n${x.name}: ${said(point.data[0])}\n${y.name}: ${said(point.data[1])}` },
      xAxis: { type: x.numeric ? "value" : "category", name: x.name, nameLocation: "middle", nameGap: 28, scale: true, ...(x.numeric ? {} : { data: kinds(x) }) },
      yAxis: { type: y.numeric ? "value" : "category", name: y.name, nameLocation: "middle", nameGap: 52, scale: true, ...(y.numeric ? {} : { data: kinds(y) }) },
      series: comparison.runs.map((run, index) => ({
        type: "scatter", name: labels(comparison.runs).get(run.id), symbolSize: 11, symbol: SYMBOLS[Math.floor((colours.get(run.id) ?? 0) / 8) % SYMBOLS.length],
        itemStyle: { color: seriesColour(colours.get(run.id) ?? 0) },
        data: x.cells[index] === null || y.cells[index] === null ? [] : [[x.cells[index], y.cells[index]]],
      })),
    }),
    [comparison, x, y, colours],
  );
  const shown = comparison.runs.filter((_, index) => x.cells[index] !== null && y.cells[index] !== null);
  return (
    <Card>
      <EChart height={420} label={`${y.name} against ${x.name} of ${shown.map((run) => names.get(run.id)).join(", ")}`} option={option} />
      {shown.length < comparison.runs.length && <p className="quiet small">{comparison.runs.length - shown.length} of the runs have no value for both.</p>}
    </Card>
  );
}

const SYMBOLS = ["circle", "rect", "triangle", "diamond"];

function Parallel({ comparison, params, y, colours }: { comparison: Comparison; params: Axis[]; y: Axis; colours: Map<string, number> }) {
  const option = useMemo(() => {
    const axes = [...params.filter((axis) => axis.differs).slice(0, MOST_AXES - 1), y].map(whole);
    return {
      parallel: { left: 60, right: 70, top: 36, bottom: 24 },
      tooltip: { trigger: "item", formatter: (line: { seriesName: string; data: { value: unknown[] } }) => [line.seriesName, ...axes.map((axis, index) => `${axis.name}: ${said(line.data.value[index])}`)].join("\n") },
      parallelAxis: axes.map((axis, dim) => ({
        dim, name: short(axis.name), nameTextStyle: { fontSize: 12 }, scale: true,
        ...(axis.numeric ? { type: "value" } : { type: "category", data: kinds(axis) }),
      })),
      series: comparison.runs.map((run, index) => ({
        type: "parallel", name: labels(comparison.runs).get(run.id), smooth: false,
        lineStyle: { color: seriesColour(colours.get(run.id) ?? 0), width: 2, opacity: 0.85 }, emphasis: { lineStyle: { width: 4 } },
        data: [{ value: axes.map((axis) => axis.cells[index] ?? "-") }],
      })),
    };
  }, [comparison, params, y, colours]);
  const many = params.filter((axis) => axis.differs).length - (MOST_AXES - 1);
  return (
    <Card>
      <EChart height={440} label={`Parallel coordinates: the parameters that differ, and ${y.name}`} option={option} />
      {many > 0 && <p className="quiet small">{many} more parameters differ.</p>}
    </Card>
  );
}

/** Where a run has no value, the axis is one of kinds, and "–" is one of them: a line cannot leave out an axis. */
function whole(axis: Axis): Axis {
  if (!axis.cells.includes(null)) return axis;
  return { ...axis, numeric: false, cells: axis.cells.map((cell) => (cell === null ? "–" : typeof cell === "number" ? number(cell) : cell)) };
}

/** Runs that share their parameters, but for the seed or but for all except one, are repetitions of one another. */
function Boxes({ comparison, params, y, state }: { comparison: Comparison; params: Axis[]; y: Axis; state: State }) {
  const { change } = state;
  const differing = params.filter((axis) => axis.differs);
  const seeds = differing.filter((axis) => /(^|[._/-])(seed|random_state)s?$/i.test(axis.name));
  const by = differing.find((axis) => axis.name === state.search.by);
  const groups = useMemo(() => {
    const keys = by ? [by] : differing.filter((axis) => !seeds.includes(axis));
    const found = new Map<string, number[]>();
    comparison.runs.forEach((_, index) => {
      const cell = y.cells[index];
      if (typeof cell !== "number") return;
      const name = keys.map((axis) => `${short(axis.name)} ${said(axis.cells[index])}`).join(", ") || "all runs";
      found.set(name, [...(found.get(name) ?? []), cell]);
    });
    return [...found].map(([name, values]) => ({ name, values, ...spread(values) })).sort((one, other) => one.median - other.median);
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [comparison, params, y, by]);
  const option = useMemo(
    () => ({
      grid: { left: 70, right: 24, top: 16, bottom: groups.length > 6 ? 110 : 60 },
      tooltip: { trigger: "item", formatter: (box: { name: string; dataIndex: number }) => boxWords(groups[box.dataIndex]) },
      xAxis: { type: "category", data: groups.map((one) => one.name), axisLabel: { rotate: groups.length > 6 ? 35 : 0, width: 140, overflow: "truncate" } },
      yAxis: { type: "value", name: y.name, nameLocation: "middle", nameGap: 52, scale: true },
      series: [
        { type: "boxplot", itemStyle: { color: "var(--accent-soft)", borderColor: "var(--accent)" }, data: groups.map((one) => [one.min, one.low, one.median, one.high, one.max]) },
        { type: "scatter", symbolSize: 6, itemStyle: { color: "var(--series-2)" }, silent: true, data: groups.flatMap((one) => one.values.map((point) => [one.name, point])) },
      ],
    }),
    [groups, y],
  );
  return (
    <>
      <div className={styles.controls}>
        <label className={styles.control}>
          A box for each
          <Select value={by?.name ?? ""} onChange={(event) => change({ by: event.target.value || undefined }, { replace: true })}>
            <option value="">{seeds.length ? "setting, over its seeds" : "setting"}</option>
            {differing.map((axis) => (
              <option key={axis.name} value={axis.name}>
                {short(axis.name)}
              </option>
            ))}
          </Select>
        </label>
      </div>
      <Card>
        <EChart height={400} label={`${y.name}: a box for each of ${groups.length} settings; the table below says the same`} option={option} />
      </Card>
      <div className={styles.frame} tabIndex={0} role="region" aria-label="The boxes in numbers">
        <table className={styles.table}>
          <thead>
            <tr>
              {["Setting", "runs", "mean", "deviation", "least", "median", "greatest"].map((head) => (
                <th key={head} scope="col">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {groups.map((one) => (
              <tr key={one.name}>
                <th scope="row">{one.name}</th>
                <td>{one.values.length}</td>
                {[one.mean, one.deviation, one.min, one.median, one.max].map((cell, index) => (
                  <td key={index}>{cell === undefined ? <span className="quiet">–</span> : <Num value={cell} />}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function boxWords(group: ({ name: string; values: number[] } & Spread) | undefined): string {
  return group ? `${group.name}\n${group.values.length} runs, mean ${number(group.mean)}\n${number(group.min)} … ${number(group.median)} … ${number(group.max)}` : "";
}

function short(name: string): string {
  return name.replace(/^params\./, "");
}

function said(cell: unknown): string {
  return typeof cell === "number" ? number(cell) : cell === null || cell === undefined ? "–" : String(cell);
}

function kinds(axis: Axis): string[] {
  const order = (text: string) => (text === "–" ? -Infinity : Number(text.replaceAll(",", "").replace("−", "-")));
  return [...new Set(axis.cells.filter((cell) => cell !== null).map(String))].sort((one, other) => order(one) - order(other) || (one < other ? -1 : 1));
}
