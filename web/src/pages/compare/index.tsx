// 2 to 50 runs side by side: what differs, what came out, and why; live, and all of it in the address.
import { Link } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";

import { api, Problem } from "@/api/client";
import { plural } from "@/format";
import { ShareDialog } from "@/pages/share/ShareDialog";
import { useTitle } from "@/shell/title";
import { Banner, Button, Confirm, CopyAs, copyText, Empty, IconButton, PageSkeleton, ProblemBanner, Tabs, toast, toastProblem, type TabItem } from "@/ui";

import { AddRun } from "./AddRun";
import { Again } from "./Again";
import styles from "./compare.module.css";
import { csv, download } from "./csv";
import { ordered, useColours, useComparison, useCompareState, useFresh, usual, type Comparison, type Mismatch, type Run, type State, type Tab } from "./data";
import { Differences } from "./Differences";
import { Code, Console, Why } from "./Pair";
import { isComparison, MOST } from "./opening";
import { Pictures } from "./Pictures";
import { Relations } from "./Relations";
import { Surroundings } from "./Surroundings";

export default function ComparePage() {
  const state = useCompareState();
  const { ids } = state;
  useTitle(ids.length ? `Compare ${plural(ids.length, "run")}` : "Compare");
  const query = useComparison(ids, state.system);
  useFresh(ids);
  const short = useShortAddress(state);
  if (short.error) return <ProblemBanner error={short.error} />;
  if (short.opening) return <PageSkeleton />;
  if (!isComparison(ids)) return <HowTo count={ids.length} />;
  if (query.error && !query.data) {
    const missing = query.error instanceof Problem && query.error.status === 404;
    return (
      <div className="stack">
        <h1>Compare</h1>
        <ProblemBanner error={query.error} retry={() => void query.refetch()} />
        {missing && <Link to="/runs">Choose other runs</Link>}
      </div>
    );
  }
  if (!query.data) return <PageSkeleton />;
  return <Page given={query.data} state={state} />;
}

/** An address that only names a kept state becomes that state. */
function useShortAddress({ search, change }: State): { opening: boolean; error: unknown } {
  const id = search.runs ? "" : (search.view ?? "");
  const query = useQuery({ queryKey: ["views", id], queryFn: ({ signal }) => api.get("/v1/views/{view_id}", { params: { view_id: id }, signal }), enabled: id !== "" });
  const kept = query.data?.state;
  useEffect(() => {
    if (kept !== undefined) change({ ...Object.fromEntries(new URLSearchParams(kept)), view: undefined }, { replace: true });
  }, [kept, change]);
  return { opening: id !== "", error: query.error };
}

/** Fifty ids make a long address: the server keeps the state under a short one. */
function ShortLink() {
  const copy = useMutation({
    mutationFn: async () => {
      const view = await api.post("/v1/views", { body: { page: "compare", state: window.location.search.slice(1) } });
      return copyText(new URL(`/compare?view=${view.id}`, window.location.origin).href);
    },
    onSuccess: (done) => toast(done ? { text: "Copied a short address of what you see" } : { text: "The browser does not let this page copy", bad: true }),
    onError: toastProblem,
  });
  return <IconButton icon="link" kind="plain" label="Copy a short address" disabled={copy.isPending} onClick={() => copy.mutate()} />;
}

function HowTo({ count }: { count: number }) {
  return (
    <Empty title="Compare runs" level={1}>
      <p>{count > MOST ? `At most ${MOST} runs stand side by side; these are ${count}.` : "Tick two or more runs in the table and press c: only what differs is shown, with their curves laid over one another."}</p>
      <Link to="/runs">To the table of runs</Link>
    </Empty>
  );
}

function Page({ given, state }: { given: Comparison; state: State }) {
  const { ids, tab, change } = state;
  const [sharing, setSharing] = useState(false);
  const comparison = useMemo(() => {
    const row = given.metrics.find((one) => one.name === state.order);
    return row ? ordered(given, row.name, state.statistic || usual(row)) : given;
  }, [given, state.order, state.statistic]);
  const colours = useColours(ids);
  const projects = [...new Set(given.runs.map((run) => run.project))];
  const tabs: TabItem<Tab>[] = [
    { id: "differences", label: "Differences" },
    { id: "relations", label: "Relations" },
    { id: "why", label: "Why" },
    { id: "code", label: "Code" },
    { id: "packages", label: "Packages and machines", count: given.packages.length + given.facts.length },
    { id: "console", label: "Console" },
    { id: "images", label: "Images" },
  ];
  return (
    <div className={styles.panel}>
      <header className={styles.head0}>
        <h1>Compare {plural(ids.length, "run")}</h1>
        <span className="quiet clip">{projects.join(", ")}</span>
        <span className={`${styles.head0} push`}>
          <Steer comparison={given} state={state} />
          <AddRun state={state} project={projects.length === 1 ? projects[0]! : ""} />
          <ShortLink />
          <CopyAs {...said(ids)} />
          <Button icon="download" onClick={() => download(csv(comparison), "comparison.csv")}>
            CSV
          </Button>
          <Button icon="share" onClick={() => setSharing(true)}>
            Share
          </Button>
        </span>
      </header>
      <Mismatches comparison={comparison} state={state} />
      <Tabs label="What to compare" tabs={tabs} current={tab} panelId="compared" onChange={(next) => change({ tab: next === "differences" ? undefined : next })} />
      <div role="tabpanel" id="compared" className={styles.panel}>
        {tab === "differences" && <Differences comparison={comparison} state={state} colours={colours} />}
        {tab === "relations" && <Relations comparison={comparison} state={state} colours={colours} />}
        {tab === "why" && <Why comparison={given} state={state} />}
        {tab === "code" && <Code comparison={given} state={state} />}
        {tab === "packages" && <Surroundings comparison={comparison} state={state} colours={colours} />}
        {tab === "console" && <Console comparison={given} state={state} />}
        {tab === "images" && <Pictures comparison={comparison} state={state} colours={colours} />}
      </div>
      <ShareDialog open={sharing} onClose={() => setSharing(false)} target={{ kind: "comparison", runs: ids }} />
    </div>
  );
}

/** What is done with the runs that are ticked: decide which go on, and which are looked at. */
function Steer({ comparison, state }: { comparison: Comparison; state: State }) {
  const { picked, ids, change } = state;
  const client = useQueryClient();
  const [asked, setAsked] = useState(false);
  const going = comparison.runs.filter((run) => picked.includes(run.id) && ["running", "queued", "lost"].includes(run.status));
  const stop = useMutation({
    mutationFn: async (runs: Run[]) => {
      const done = await Promise.allSettled(runs.map((run) => api.post("/v1/runs/{run_id}/stop", { params: { run_id: run.id }, body: { reason: "stopped in a comparison" } })));
      const failed = done.find((one) => one.status === "rejected");
      if (failed) throw failed.reason;
      return runs.length;
    },
    onSuccess: (count) => {
      toast({ text: `${plural(count, "run")} will stop; what was logged stays.` });
      change({ picked: undefined }, { replace: true });
    },
    onError: toastProblem,
    onSettled: () => {
      void client.invalidateQueries({ queryKey: ["compare"] });
      void client.invalidateQueries({ queryKey: ["runs"] });
    },
  });
  if (!picked.length) return null;
  return (
    <>
      {picked.length === 1 && picked[0] !== state.base && (
        <Button onClick={() => change({ base: picked[0], picked: undefined })}>As baseline</Button>
      )}
      {picked.length >= 2 && picked.length < ids.length && <Button onClick={() => change({ runs: picked.join(","), picked: undefined })}>Only these {picked.length}</Button>}
      {going.length > 0 && (
        <Button kind="danger" icon="stop" disabled={stop.isPending} onClick={() => setAsked(true)}>
          Stop {going.length}
        </Button>
      )}
      <Confirm
        open={asked} title={`Stop ${plural(going.length, "run")}?`} action="Stop" busy={stop.isPending} onClose={() => setAsked(false)}
        onConfirm={() => {
          setAsked(false);
          stop.mutate(going);
        }}
      >
        <p>{going.map((run) => run.name).join(", ")}. Each gets the time to keep a last checkpoint; its machine is free for the next one after that.</p>
      </Confirm>
    </>
  );
}

function Mismatches({ comparison, state }: { comparison: Comparison; state: State }) {
  const [again, setAgain] = useState<Mismatch | null>(null);
  return (
    <>
      {comparison.mismatches.map((one) => (
        <Banner
          key={`${one.about} ${one.name}`} kind={one.about === "unfinished" ? "info" : "warn"}
          actions={
            one.about === "data" && one.param ? (
              <Button size="small" onClick={() => setAgain(one)}>
                Run again on the same
              </Button>
            ) : undefined
          }
        >
          {one.sentence}
        </Banner>
      ))}
      {again && <Again mismatch={again} comparison={comparison} state={state} onClose={() => setAgain(null)} />}
    </>
  );
}

/** The same comparison in other languages. */
function said(ids: string[]): { python: string; cli: string; curl: string } {
  const query = ids.map((id) => `runs=${id}`).join("&");
  return {
    python: `import larder\n\nlarder.compare(\n${ids.map((id) => `    "${id}",\n`).join("")})`,
    cli: `larder runs compare ${ids.join(" ")}`,
    curl: `curl -H "Authorization: Bearer $LARDER_TOKEN" '${window.location.origin}/v1/compare?${query}'`,
  };
}
