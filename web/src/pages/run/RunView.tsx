// The head of a run with its actions, the tabs, and the part that is open; each part is loaded when it is first opened.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef } from "react";

import { api } from "@/api/client";
import { shortId } from "@/format";
import { useKeys } from "@/keys";
import { Banner, CopyButton, IconButton, ProblemBanner, SkeletonLines, StatusBadge, TabLinks, Tabs, type TabItem } from "@/ui";

import { Actions } from "./Actions";
import { again, FINAL, runQuery, usePlace, type TabId } from "./context";
import { EditableName } from "./EditableName";
import { isLoad } from "./metrics";
import styles from "./run.module.css";

const parts: Record<TabId, React.LazyExoticComponent<() => React.ReactNode>> = {
  overview: lazy(() => import("./Overview")),
  metrics: lazy(() => import("./Metrics")),
  params: lazy(() => import("./Params")),
  console: lazy(() => import("./Console")),
  samples: lazy(() => import("./Samples")),
  artifacts: lazy(() => import("./Artifacts")),
  code: lazy(() => import("./CodeTab")),
  environment: lazy(() => import("./Environment")),
  machine: lazy(() => import("./Machine")),
  lineage: lazy(() => import("./LineageTab")),
  events: lazy(() => import("./Events")),
};

export function useArtifacts(id: string) {
  return useQuery({
    queryKey: ["run", id, "artifacts"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/artifacts", { params: { run_id: id }, query: { latest: false }, signal }),
  });
}

export function RunView({ tab, onClose }: { tab: TabId; onClose?: () => void }) {
  const place = usePlace();
  const { id, run, panel } = place;
  const navigate = useNavigate();
  const artifacts = useArtifacts(id);
  const progress = useQuery({
    queryKey: ["run", id, "progress"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/progress", { params: { run_id: id }, signal }),
    enabled: run.status === "running",
    refetchInterval: again(run),
  });
  const shown = artifacts.data?.artifacts ?? [];
  const names = new Set(shown.map((one) => one.name));
  const series = Object.keys(run.metrics);
  const tabs: TabItem<TabId>[] = [
    { id: "overview", label: "Overview" },
    { id: "metrics", label: "Metrics", count: series.filter((name) => !isLoad(name)).length },
    { id: "params", label: "Parameters", count: Object.keys(run.params).length },
    { id: "console", label: "Console" },
    ...(shown.some((one) => one.kind === "table") ? [{ id: "samples" as const, label: "Samples" }] : []),
    { id: "artifacts", label: "Artifacts", count: names.size },
    { id: "code", label: "Code" },
    { id: "environment", label: "Environment" },
    { id: "machine", label: "Machine" },
    { id: "lineage", label: "Lineage" },
    { id: "events", label: "Events" },
  ];
  const here: TabId = tab in parts ? tab : "overview";
  const Part = parts[here];

  const client = useQueryClient();
  const at = useRef({ id, chain: Promise.resolve() });
  useEffect(() => {
    at.current.id = id;
  }, [id]);
  // one after the other: who presses a key twice wants the run after the next
  const go = (way: "before" | "after") => {
    at.current.chain = at.current.chain.then(async () => {
      const next = await neighbour(at.current.id, way).catch(() => null);
      if (!next) return;
      at.current.id = next;
      await client.prefetchQuery(runQuery(next));
      await navigate({ to: "/runs/$run/{-$tab}", params: { run: next, tab: here === "overview" ? undefined : here }, search: true as never });
    });
  };
  useKeys(
    panel
      ? {}
      : {
          "[": { label: "Previous run, same tab", run: () => go("before") },
          "]": { label: "Next run, same tab", run: () => go("after") },
          ...Object.fromEntries(
            tabs.slice(0, 9).map((one, index) => [String(index + 1), { label: `Tab ${String(one.label)}`, hidden: index > 0, run: () => place.openTab(one.id) }]),
          ),
        },
    { scope: "Run" },
  );

  const fraction = run.status === "running" ? progress.data?.fraction : null;
  return (
    <article className={styles.view} aria-label={`Run ${run.name}`}>
      <header className={styles.head}>
        <div className={styles.title}>
          <div className={styles.crumbs}>
            <Link to="/projects/$project" params={{ project: run.project }}>
              {run.project}
            </Link>
            <span aria-hidden="true">/</span>
            <span className="mono" title={run.id}>
              {shortId(run.id)}
            </span>
            <CopyButton text={run.id} what="the run's id" />
            {!panel && (
              <>
                <IconButton icon="chevronLeft" size="small" label="Previous run" shortcut="[" onClick={() => go("before")} />
                <IconButton icon="chevronRight" size="small" label="Next run" shortcut="]" onClick={() => go("after")} />
              </>
            )}
            {run.archived && <span>archived</span>}
            {run.published && <span>published, locked for good</span>}
          </div>
          <div className="row">
            <EditableName level={panel ? 2 : 1} />
            <StatusBadge status={run.status} reason={run.reason} />
          </div>
        </div>
        <div className={styles.actions}>
          <Actions />
          {onClose && (
            <>
              <Link to="/runs/$run/{-$tab}" params={{ run: id, tab: here === "overview" ? undefined : here }} className="small">
                Open in full
              </Link>
              <IconButton icon="close" label="Close" onClick={onClose} />
            </>
          )}
        </div>
      </header>
      {fraction != null && (
        <div className={styles.progress} role="progressbar" aria-label="Progress" aria-valuenow={Math.round(fraction * 100)} aria-valuemin={0} aria-valuemax={100}>
          <span style={{ width: `${fraction * 100}%` }} />
        </div>
      )}
      {run.reason && !["completed", "running"].includes(run.status) && (
        <Banner kind={run.status === "failed" ? "bad" : run.status === "lost" ? "warn" : "info"}>{run.reason}</Banner>
      )}
      {run.lost_records > 0 && FINAL.has(run.status) && <Banner kind="warn">{run.lost_records.toLocaleString("en")} records could not be written down while this run went on.</Banner>}
      {panel ? (
        <Tabs tabs={tabs} current={here} onChange={(to) => place.openTab(to)} label="Parts of the run" panelId={`part-${id}`} />
      ) : (
        <TabLinks
          tabs={tabs} current={here} label="Parts of the run"
          to={(to) => ({ to: "/runs/$run/{-$tab}", params: { run: id, tab: to === "overview" ? undefined : to } })}
        />
      )}
      <div id={`part-${id}`} role={panel ? "tabpanel" : undefined} aria-label={panel ? String(tabs.find((one) => one.id === here)?.label) : undefined}>
        {artifacts.error && here === "artifacts" && <ProblemBanner error={artifacts.error} />}
        <Suspense key={`${id} ${here}`} fallback={<SkeletonLines lines={8} />}>
          <Part />
        </Suspense>
      </div>
    </article>
  );
}

/** The run before or after one: in the order of the table that one came from, else in time. */
async function neighbour(id: string, way: "before" | "after"): Promise<string | null> {
  try {
    const order = JSON.parse(sessionStorage.getItem("larder.order") ?? "[]") as string[];
    const at = order.indexOf(id);
    const next = at < 0 ? undefined : order[at + (way === "before" ? -1 : 1)];
    if (next) return next;
  } catch {
    // a table that has left nothing readable leaves the order in time
  }
  const found = await api.get("/v1/runs/{run_id}/neighbours", { params: { run_id: id } });
  return found[way] ?? null;
}
