// All curves of a run: grouped, smoothed, on a shared axis, beside those of other runs. Only what is in view is mounted.
import { useQueries } from "@tanstack/react-query";
import { useMemo, useState } from "react";

import { api } from "@/api/client";
import { number } from "@/format";
import { Button, Checkbox, Dialog, Empty, SearchBox, Segments, TagChip, Visible } from "@/ui";

import { usePlace } from "./context";
import { MetricChart, type Look, type Other, type XKind } from "./MetricChart";
import { chartGroups, isLoad, type ChartGroup } from "./metrics";
import { PickRun } from "./PickRun";
import styles from "./run.module.css";

const HEIGHT = 200;

export default function Metrics() {
  const { id, run, values, change } = usePlace();
  const [expanded, expand] = useState<ChartGroup | null>(null);
  const beside = useMemo(() => (values.with ?? "").split(",").filter(Boolean).slice(0, 9), [values.with]);
  const asked = useQueries({
    queries: beside.map((other) => ({
      queryKey: ["run", other],
      queryFn: ({ signal }: { signal: AbortSignal }) => api.get("/v1/runs/{run_id}", { params: { run_id: other }, signal }),
    })),
  });
  const told = asked.map((one) => one.data);
  const key = told.map((one) => (one ? `${one.id} ${one.name} ${one.started}` : "")).join("\n");
  // by their words, so that the charts are not drawn anew with every answer
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const others = useMemo<Other[]>(() => told.flatMap((one) => (one ? [{ id: one.id, name: one.name, started: one.started ?? null }] : [])), [key]);

  const all = [...new Set([...Object.keys(run.metrics), ...told.flatMap((one) => (one ? Object.keys(one.metrics) : []))])].filter((name) => !isLoad(name));
  const find = (values.find ?? "").toLowerCase();
  const together = values.split !== "1";
  const names = all.filter((name) => name.toLowerCase().includes(find)).join("\n");
  const sections = useMemo(() => chartGroups(names ? names.split("\n") : [], { together }), [names, together]);

  const x: XKind = values.x === "time" || values.x === "relative" ? values.x : "step";
  const smoothing = Math.min(0.99, Math.max(0, Number(values.smooth) || 0));
  const zoom = values.zoom;
  const look = useMemo<Look>(
    () => ({
      x, smoothing, logX: values.logx === "1" && x !== "time", logY: values.logy === "1", zoom: zoomOf(zoom),
      onZoom: (next) => change({ zoom: next ? next.map((end) => Number(end.toPrecision(10))).join("..") : undefined }, { replace: true }),
    }),
    [x, smoothing, values.logx, values.logy, zoom, change],
  );

  if (!all.length)
    return (
      <Empty title="No metrics yet">
        <p>
          They appear here as soon as the script logs some: <code>run.log({"{"}"loss": loss{"}"})</code>
        </p>
      </Empty>
    );
  return (
    <div className="stack">
      <div className={styles.tools}>
        <SearchBox value={values.find ?? ""} onChange={(text) => change({ find: text }, { replace: true })} label="Find metrics" />
        <Segments<XKind>
          label="Horizontal axis" value={x} onChange={(next) => change({ x: next === "step" ? undefined : next, zoom: undefined }, { replace: true })}
          options={[{ id: "step", label: "Step" }, { id: "time", label: "Time" }, { id: "relative", label: "Since start" }]}
        />
        <label className={styles.range}>
          Smoothing
          <input
            type="range" min={0} max={0.99} step={0.01} value={smoothing} aria-valuetext={smoothing ? number(smoothing) : "none"}
            onChange={(event) => change({ smooth: event.target.value === "0" ? undefined : event.target.value }, { replace: true })}
          />
          <span className="tabular">{smoothing.toFixed(2)}</span>
        </label>
        <Checkbox label="log y" checked={look.logY} onChange={(event) => change({ logy: event.target.checked ? "1" : undefined }, { replace: true })} />
        <Checkbox label="log x" checked={look.logX} disabled={x === "time"} onChange={(event) => change({ logx: event.target.checked ? "1" : undefined }, { replace: true })} />
        <Checkbox label="train and test together" checked={together} onChange={(event) => change({ split: event.target.checked ? undefined : "1" }, { replace: true })} />
        {look.zoom && (
          <Button size="small" icon="close" onClick={() => look.onZoom(null)}>
            Zoom
          </Button>
        )}
        <span className="push row">
          {others.map((other) => (
            <TagChip key={other.id} tag={other.name} onRemove={() => change({ with: beside.filter((one) => one !== other.id).join(",") }, { replace: true })} />
          ))}
          <PickRun
            project={run.project} not={[id, ...beside]} label="Compare with…"
            onPick={(other) => change({ with: [...beside, other].join(",") }, { replace: true })}
          />
        </span>
      </div>
      {!sections.length && <p className="quiet">No metric's name holds “{values.find}”.</p>}
      {sections.map(({ section, charts }) => (
        <section key={section} className={styles.section} aria-label={section || "Metrics"}>
          {(sections.length > 1 || section) && (
            <div className={styles.sectionHead}>
              <h2>{section || "Metrics"}</h2>
              <span className="quiet small">{charts.length}</span>
            </div>
          )}
          <div className={styles.charts}>
            {charts.map((group) => (
              <Visible key={group.title} height={HEIGHT + 84}>
                <MetricChart run={run} group={group} others={others} look={look} height={HEIGHT} onExpand={() => expand(group)} />
              </Visible>
            ))}
          </div>
        </section>
      ))}
      <p className="quiet small">Drag across a chart to zoom into all of them, double-click to see all again.</p>
      <Dialog open={expanded !== null} onClose={() => expand(null)} title={expanded?.title ?? ""} size="wide">
        {expanded && <MetricChart run={run} group={expanded} others={others} look={look} height={420} sync="large" />}
      </Dialog>
    </div>
  );
}

function zoomOf(text: string | undefined): [number, number] | null {
  const [from, to] = (text ?? "").split("..").map(Number);
  return text && from !== undefined && to !== undefined && Number.isFinite(from) && Number.isFinite(to) && from < to ? [from, to] : null;
}
