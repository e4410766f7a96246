// What the run was, in words; its main numbers and curves; notes and tags; where everything else is.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";

import { api } from "@/api/client";
import { bytes, number, plural, value as shown } from "@/format";
import { Banner, Button, Code, Duration, IconButton, Input, SkeletonLines, TagChip, TextArea, Time, toastProblem, useNow } from "@/ui";

import { again, record, text, usePlace } from "./context";
import { MetricChart, type Look } from "./MetricChart";
import { chartGroups, isLoad, mainMetrics } from "./metrics";
import styles from "./run.module.css";
import { bestOf, inWords, type Run } from "./words";

const Markdown = lazy(() => import("@/ui/Markdown").then((module) => ({ default: module.Markdown })));

export default function Overview() {
  const { id, run, openTab } = usePlace();
  const now = useNow({ everySecond: run.status === "running" });
  const progress = useQuery({
    queryKey: ["run", id, "progress"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/progress", { params: { run_id: id }, signal }),
    enabled: run.status === "running",
    refetchInterval: again(run),
  });
  const machine = useQuery({
    queryKey: ["run", id, "machine"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/machine", { params: { run_id: id }, signal }),
    enabled: Object.keys(run.metrics).some((name) => name.includes("system/gpu.")),
  });
  const why = useQuery({
    queryKey: ["run", id, "why"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/why", { params: { run_id: id }, signal }),
    enabled: run.status === "queued",
    retry: false,
  });
  const names = Object.keys(run.metrics);
  const main = mainMetrics(names, 4);
  const look = useMemo<Look>(() => ({ x: "step", logX: false, logY: false, smoothing: 0, zoom: null, onZoom: () => undefined }), []);
  const listed = names.filter((name) => !isLoad(name)).join("\n");
  const charts = useMemo(() => {
    const groups = chartGroups(listed ? listed.split("\n") : [], { together: true }).flatMap((one) => one.charts);
    const first = mainMetrics(listed.split("\n"), 4);
    return first
      .map((name) => groups.find((group) => group.names.includes(name)))
      .filter((group, index, all) => group !== undefined && all.indexOf(group) === index)
      .slice(0, 2) as typeof groups;
  }, [listed]);
  return (
    <div className="stack">
      <p className={styles.lead}>{inWords(run, progress.data, now)}</p>
      {why.data && (
        <Banner kind="info">
          {why.data.reasons.join(" ") || "It could start at once."}
          {why.data.ahead > 0 && ` ${plural(why.data.ahead, "job")} before it.`}
          {why.data.starts != null && (
            <>
              {" "}
              Expected to start <Time at={why.data.starts} />.
            </>
          )}
        </Banner>
      )}
      {(machine.data?.idle.length ?? 0) > 0 && (
        <Banner kind="warn" actions={<Button size="small" onClick={() => openTab("machine")}>Show when</Button>}>
          A GPU had nothing to do for more than ten minutes.
        </Banner>
      )}
      {main.length > 0 && (
        <div className={styles.numbers}>
          {main.map((name) => {
            const summary = run.metrics[name]!;
            const best = bestOf(name, summary);
            return (
              <div key={name} className={styles.number}>
                <span className="quiet small clip" title={name}>
                  {name}
                </span>
                <strong title={String(best.value)}>{number(best.value)}</strong>
                <span className="quiet small tabular">
                  {best.word}
                  {summary.count > 1 && best.word !== "last" && ` at step ${best.step.toLocaleString("en")} · last ${number(summary.last)}`}
                  {best.word === "last" && summary.count > 1 && ` of ${summary.count.toLocaleString("en")} points`}
                </span>
              </div>
            );
          })}
        </div>
      )}
      <div className={styles.columns}>
        <div className="stack">
          {charts.map((group) => (
            <MetricChart key={group.title} run={run} group={group} others={NONE} look={look} height={180} sync={`overview ${id}`} />
          ))}
          {names.some((name) => !isLoad(name)) ? (
            <div>
              <Button size="small" onClick={() => openTab("metrics")}>
                All metrics
              </Button>
            </div>
          ) : (
            run.status !== "draft" && <p className="quiet">No metrics were logged{run.status === "running" ? " yet" : ""}.</p>
          )}
          <Notes />
        </div>
        <div className="stack">
          <Tags />
          <Facts run={run} />
        </div>
      </div>
    </div>
  );
}

const NONE: never[] = [];

function Facts({ run }: { run: Run }) {
  const { openTab } = usePlace();
  const parent = useQuery({
    queryKey: ["run", run.parent ?? ""],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}", { params: { run_id: run.parent! }, signal }),
    enabled: run.parent != null,
    retry: false,
  });
  const command = record(run.facts.command);
  const argv = Array.isArray(command.argv) ? command.argv.map(String).join(" ") : "";
  const packages = record(run.facts.packages);
  const machine = record(run.facts.machine);
  const gpus = Array.isArray(machine.gpus) ? machine.gpus.map((gpu) => text(record(gpu).name)).filter(Boolean) : [];
  const overrides = Object.entries(record(run.facts.overrides));
  const data = record(run.facts.data);
  const needs = [run.needs.gpus && `${run.needs.gpus} GPU${run.needs.gpus > 1 ? "s" : ""}`, run.needs.memory && bytes(run.needs.memory), run.needs.cpus && `${run.needs.cpus} processors`].filter(Boolean).join(", ");
  return (
    <dl className={styles.pairs}>
      <dt>Made</dt>
      <dd>
        <Time at={run.created} />
        {run.user && ` by ${run.user}`}
      </dd>
      <dt>Took</dt>
      <dd>
        <Duration started={run.started} ended={run.ended} />
      </dd>
      {run.host && (
        <>
          <dt>On</dt>
          <dd>
            {run.host}
            {gpus.length > 0 && <span className="quiet"> with {gpus.length > 1 ? `${gpus.length} × ` : ""}{gpus[0]}</span>}
          </dd>
        </>
      )}
      {(run.commit || run.branch) && (
        <>
          <dt>Code</dt>
          <dd>
            <button type="button" className={`${styles.sort} ${styles.wraps}`} onClick={() => openTab("code")}>
              <span className="mono">{run.commit.slice(0, 10)}</span> {run.branch}
              {record(run.facts.code).dirty === true && " with changes"}
            </button>
          </dd>
        </>
      )}
      {run.parent != null && (
        <>
          <dt>Made from</dt>
          <dd>
            <Link to="/runs/$run/{-$tab}" params={{ run: run.parent, tab: undefined }}>
              {parent.data?.name ?? run.parent.slice(-8)}
            </Link>
            {overrides.length > 0 && (
              <span className={styles.chips}>
                {overrides.slice(0, 8).map(([name, value]) => (
                  <span key={name} className={styles.chip}>
                    {name} = {shown(value)}
                  </span>
                ))}
              </span>
            )}
          </dd>
        </>
      )}
      {Object.keys(data).length > 0 && (
        <>
          <dt>Data</dt>
          <dd className="mono">{Object.entries(data).map(([name, value]) => `${name} ${shown(value)}`).join("\n")}</dd>
        </>
      )}
      {run.queue && (
        <>
          <dt>Queue</dt>
          <dd>
            <Link to="/queues/{-$queue}" params={{ queue: run.queue }}>
              {run.queue}
            </Link>
            {needs && <span className="quiet"> needs {needs}</span>}
          </dd>
        </>
      )}
      {run.checkpoint && (
        <>
          <dt>Checkpoint</dt>
          <dd>
            {run.checkpoint.name}, step {run.checkpoint.step.toLocaleString("en")}
          </dd>
        </>
      )}
      {(run.retries > 0 || run.attempt > 1) && (
        <>
          <dt>Tried</dt>
          <dd>
            {run.retries + 1} times{run.cause && <span className="quiet"> ({run.cause.replaceAll("_", " ")})</span>}
          </dd>
        </>
      )}
      {text(packages.python) && (
        <>
          <dt>Python</dt>
          <dd>{text(packages.python)}</dd>
        </>
      )}
      {run.exit_status != null && run.exit_status !== 0 && (
        <>
          <dt>Exit status</dt>
          <dd>{run.exit_status}</dd>
        </>
      )}
      {argv && (
        <>
          <dt>Command</dt>
          <dd>
            <Code label="Command">{argv}</Code>
          </dd>
        </>
      )}
    </dl>
  );
}

function Tags() {
  const { id, run } = usePlace();
  const client = useQueryClient();
  const [draft, setDraft] = useState<string | null>(null);
  const put = async (body: { add_tags?: string[]; remove_tags?: string[] }) => {
    const before = client.getQueryData<Run>(["run", id]);
    const tags = [...new Set([...run.tags, ...(body.add_tags ?? [])])].filter((tag) => !body.remove_tags?.includes(tag)).sort();
    client.setQueryData(["run", id], { ...run, tags });
    try {
      client.setQueryData(["run", id], await api.patch("/v1/runs/{run_id}", { params: { run_id: id }, body }));
      void client.invalidateQueries({ queryKey: ["runs"] });
    } catch (error) {
      client.setQueryData(["run", id], before);
      toastProblem(error);
    }
  };
  return (
    <div className="row" role="group" aria-label="Tags">
      {run.tags.map((tag) => (
        <TagChip key={tag} tag={tag} onRemove={run.published ? undefined : () => void put({ remove_tags: [tag] })} />
      ))}
      {draft === null ? (
        !run.published && (
          <Button size="small" kind="quiet" icon="tag" onClick={() => setDraft("")}>
            Add a tag
          </Button>
        )
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const tag = draft.trim();
            setDraft(null);
            if (tag) void put({ add_tags: [tag] });
          }}
        >
          <Input
            aria-label="New tag" placeholder="tag" value={draft} autoFocus onChange={(event) => setDraft(event.target.value)} onBlur={() => !draft && setDraft(null)}
            onKeyDown={(event) => event.key === "Escape" && (event.stopPropagation(), setDraft(null))}
          />
        </form>
      )}
    </div>
  );
}

function Notes() {
  const { id, run } = usePlace();
  const client = useQueryClient();
  const [draft, setDraft] = useState<string | null>(null);
  const save = async (notes: string) => {
    try {
      client.setQueryData(["run", id], await api.patch("/v1/runs/{run_id}", { params: { run_id: id }, body: { notes } }));
      setDraft(null);
    } catch (error) {
      toastProblem(error);
    }
  };
  return (
    <section className={styles.section} aria-label="Notes">
      <div className={styles.sectionHead}>
        <h2>Notes</h2>
        {draft === null && !run.published && <IconButton icon="edit" label={run.notes ? "Edit the notes" : "Write notes"} size="small" onClick={() => setDraft(run.notes)} />}
      </div>
      {draft !== null ? (
        <form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void save(draft);
          }}
        >
          <TextArea
            aria-label="Notes, in Markdown" rows={8} value={draft} autoFocus onChange={(event) => setDraft(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void save(draft);
              if (event.key === "Escape") setDraft(null);
            }}
          />
          <div className="row">
            <Button kind="primary" type="submit">
              Save
            </Button>
            <Button onClick={() => setDraft(null)}>Cancel</Button>
            <span className="quiet small">Markdown · Ctrl+Enter saves</span>
          </div>
        </form>
      ) : run.notes ? (
        <div className={styles.note}>
          <Suspense fallback={<SkeletonLines lines={3} />}>
            <Markdown text={run.notes} />
          </Suspense>
        </div>
      ) : (
        <p className="quiet small">What was tried, and why? Whoever comes later will be glad.</p>
      )}
    </section>
  );
}
