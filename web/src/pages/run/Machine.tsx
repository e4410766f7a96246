// The machine and its load while the run went on; when a GPU had nothing to do.
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { api, type Answer } from "@/api/client";
import { absolute, bytes, duration, number } from "@/format";
import { Banner, Empty, Skeleton, SkeletonLines, Visible } from "@/ui";
import { Chart, type ChartSeries } from "@/ui/Chart";

import { again, record, text, usePlace } from "./context";
import { rankOf, withoutRank } from "./metrics";
import styles from "./run.module.css";
import { useSeries } from "./series";
import type { Run } from "./words";

type Idle = Answer<"/v1/runs/{run_id}/machine", "get">["idle"][number];

interface Group {
  title: string;
  names: string[];
  unit: "percent" | "bytes" | "rate" | "";
}

const HEIGHT = 170;

/** System series by what they have in common; the processes' own beside those of the whole machine. */
function groupsOf(series: readonly string[]): Group[] {
  const groups = new Map<string, Group>();
  for (const name of series) {
    const rank = rankOf(name);
    const bare = withoutRank(name).slice("system/".length);
    const [title, unit] = about(bare);
    const whole = rank ? `${title} · rank ${rank}` : title;
    const group = groups.get(whole) ?? { title: whole, names: [], unit };
    group.names.push(name);
    groups.set(whole, group);
  }
  const order = ["GPU", "GPU memory", "Processors", "Memory", "Disk", "Network"];
  const place = (title: string) => {
    const at = order.findIndex((one) => title.startsWith(one));
    return at < 0 ? order.length : at;
  };
  return [...groups.values()].sort((a, b) => place(a.title) - place(b.title) || a.title.localeCompare(b.title));
}

function about(name: string): [string, Group["unit"]] {
  if (/^gpu\.\d+\.percent$/.test(name)) return ["GPU load, %", "percent"];
  if (/^gpu\.\d+\.memory_percent$/.test(name)) return ["GPU memory, %", "percent"];
  if (/^gpu\.\d+\.memory_bytes$/.test(name)) return ["GPU memory", "bytes"];
  if (/^gpu\.\d+\.power/.test(name)) return ["GPU power, W", ""];
  if (/^gpu\.\d+\.temperature/.test(name)) return ["GPU temperature, °C", ""];
  if (/cpu_percent$/.test(name)) return ["Processors, %", "percent"];
  if (name === "memory_percent") return ["Memory, %", "percent"];
  if (/memory_bytes$/.test(name)) return ["Memory", "bytes"];
  if (/^disk/.test(name)) return ["Disk", "rate"];
  if (/^network/.test(name)) return ["Network", "rate"];
  return [name, ""];
}

function labelOf(name: string): string {
  const bare = withoutRank(name).slice("system/".length);
  const gpu = /^gpu\.(\d+)/.exec(bare);
  if (gpu) return `GPU ${gpu[1]}`;
  if (bare.startsWith("process.")) return "this run";
  if (/^(cpu|memory)/.test(bare)) return "whole machine";
  return bare.replace(/^(disk|network)_/, "").replace(/_bytes_per_second$/, "").replaceAll("_", " ");
}

export default function Machine() {
  const { id, run } = usePlace();
  const found = useQuery({
    queryKey: ["run", id, "machine"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/machine", { params: { run_id: id }, signal }),
    refetchInterval: again(run, 30),
  });
  const machine = record(run.facts.machine);
  const groups = useMemo(() => groupsOf(found.data?.series ?? []), [found.data?.series]);
  if (!found.data) return found.error ? <p className="quiet">{found.error.message}</p> : <SkeletonLines lines={6} />;
  if (!groups.length && !Object.keys(machine).length)
    return (
      <Empty title="Nothing was recorded of the machine">
        <p>Its load is sampled every five seconds by runs that last longer than that.</p>
      </Empty>
    );
  const gpus = Array.isArray(machine.gpus) ? machine.gpus.map(record) : [];
  const execution = record(run.facts.execution);
  return (
    <div className="stack">
      <dl className={styles.pairs}>
        <dt>Host</dt>
        <dd>{text(machine.host) || run.host || "unknown"}</dd>
        {text(machine.os) && (
          <>
            <dt>System</dt>
            <dd>
              {text(machine.os)} {text(machine.processor)}
            </dd>
          </>
        )}
        {typeof machine.cpus === "number" && (
          <>
            <dt>Processors</dt>
            <dd>
              {machine.cpus}
              {typeof machine.cpus_usable === "number" && machine.cpus_usable !== machine.cpus && <span className="quiet">, {machine.cpus_usable} of them for this run</span>}
            </dd>
          </>
        )}
        {typeof machine.memory === "number" && (
          <>
            <dt>Memory</dt>
            <dd>{bytes(machine.memory)}</dd>
          </>
        )}
        {gpus.length > 0 && (
          <>
            <dt>GPUs</dt>
            <dd>
              {gpus.map((gpu, index) => (
                <div key={index}>
                  {text(gpu.index)}: {text(gpu.name)} {typeof gpu.memory === "number" && <span className="quiet">{bytes(gpu.memory)}</span>}
                </div>
              ))}
            </dd>
          </>
        )}
        {typeof execution.peak_memory === "number" && (
          <>
            <dt>Most memory used</dt>
            <dd>{bytes(execution.peak_memory)}</dd>
          </>
        )}
      </dl>
      {found.data.idle.length > 0 && (
        <Banner kind="warn">
          {inWords(found.data.idle)}
          <ul>
            {found.data.idle.slice(0, 10).map((one) => (
              <li key={`${one.series} ${one.first}`} className="small tabular">
                {labelOf(one.series)}: {duration((one.last - one.first) / 1e6)} from {absolute(one.first)}
              </li>
            ))}
          </ul>
        </Banner>
      )}
      {groups.length > 0 ? (
        <div className={styles.charts}>
          {groups.map((group) => (
            <Visible key={group.title} height={HEIGHT + 84}>
              <Load run={run} group={group} idle={found.data.idle} />
            </Visible>
          ))}
        </div>
      ) : (
        <p className="quiet">No load was sampled{run.status === "running" ? " yet" : ""}: the run was shorter than the five seconds between two samples.</p>
      )}
    </div>
  );
}

function inWords(idle: readonly Idle[]): string {
  const whole = idle.reduce((sum, one) => sum + (one.last - one.first), 0) / 1e6;
  const gpus = [...new Set(idle.map((one) => labelOf(one.series)))];
  return `${gpus.join(", ")} had nothing to do for ${duration(whole)} in all, in stretches of more than ten minutes. Loading the data may take longer than working on it.`;
}

function Load({ run, group, idle }: { run: Run; group: Group; idle: readonly Idle[] }) {
  const found = useSeries(run, group.names, { points: 400 });
  const series = useMemo<ChartSeries[]>(() => {
    const start = run.started ?? 0;
    const curves = (found.data ?? [])
      .slice().sort((a, b) => group.names.indexOf(a.name) - group.names.indexOf(b.name))
      .map((chart): ChartSeries => ({
        id: chart.name, label: labelOf(chart.name), x: chart.times.map((time) => (time - start) / 1e6), y: chart.values as (number | null)[],
      }));
    if (group.title.startsWith("GPU load"))
      for (const one of idle.filter((stretch) => group.names.includes(stretch.series)))
        curves.push({
          id: `${one.series} idle ${one.first}`, label: `${labelOf(one.series)} idle`, colour: "var(--warn)", width: 3,
          x: [(one.first - start) / 1e6, (one.last - start) / 1e6], y: [0, 0], low: [0, 0], high: [100, 100],
        });
    return curves;
  }, [found.data, group, idle, run.started]);
  const format = group.unit === "bytes" ? (value: number) => bytes(value) : group.unit === "rate" ? (value: number) => `${bytes(value)}/s` : (value: number) => number(value);
  return (
    <figure className={styles.chart} style={{ margin: 0 }} aria-label={group.title}>
      <div className={styles.chartHead}>
        <h4>{group.title}</h4>
      </div>
      {found.isPending ? (
        <Skeleton height={HEIGHT + 22} />
      ) : (
        <Chart
          series={series} label={group.title} height={HEIGHT} sync="machine" x={{ kind: "duration" }}
          y={{ range: group.unit === "percent" ? [0, null] : group.unit === "" ? undefined : [0, null], format }}
        />
      )}
    </figure>
  );
}
