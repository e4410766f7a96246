// Runs: find them, set them side by side, group them, and do something with many of them.
import { useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import { address, api } from "@/api/client";
import { count, plural } from "@/format";
import { useKeys } from "@/keys";
import { useLive } from "@/live";
import { useTitle } from "@/shell/title";
import { Banner, Button, Code, CopyAs, Empty, Icon, Menu, PageSkeleton, ProblemBanner, SearchBox, SkeletonLines, toast } from "@/ui";
import { ShareDialog } from "./late";

import { BulkBar, NOTHING, type Ticked } from "./Bulk";
import { ColumnPicker } from "./ColumnPicker";
import { asked, laidOut, usual } from "./columns";
import { joined } from "./conditions";
import { asCommand, asCurl, asPython } from "./copy";
import { faultOf, PAGE, useGroups, useRows, type Group, type Question, type Row } from "./data";
import { Facets } from "./Facets";
import { GroupPicker } from "./GroupPicker";
import { RunTable, type Item } from "./RunTable";
import styles from "./runs.module.css";
import { useTableState, writeSort } from "./state";
import { ViewsMenu } from "./ViewsMenu";
import { WhereBox } from "./WhereBox";

const RunPanel = lazy(() => import("../run/RunPanel").then((module) => ({ default: module.RunPanel })));

const IN_GROUP = 50;
/** `larder runs ls` and the others ask for so many at most. */
const COPIED = 10_000;
/** Milliseconds between two counts of the facets while runs are at work. */
const COUNTED = 4000;

export default function RunsPage() {
  const params = useParams({ strict: false });
  const addressed = useTableState();
  const project = params.project ?? addressed.search.project ?? "";
  useTitle(project || "runs");
  if (addressed.problem)
    return (
      <div className="stack">
        <h1>{project || "Runs"}</h1>
        <ProblemBanner error={addressed.problem} />
        <p>
          <Link to="/runs" search={{} as never}>
            Show all runs
          </Link>
        </p>
      </div>
    );
  if (addressed.pending) return <PageSkeleton />;
  return <Runs key={project} project={project} {...addressed} />;
}

function Runs({ project, state, change, search, setSearch, text }: { project: string } & ReturnType<typeof useTableState>) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const grouped = state.group.length > 0;

  // -- columns
  const telling = useQuery({
    queryKey: ["run-names", project, "telling"],
    queryFn: ({ signal }) => api.get("/v1/runs/table", { query: { project, columns: "*", limit: 0 }, signal }),
    enabled: state.columns === null && grouped,
    staleTime: 60_000,
  });
  const question: Question = useMemo(
    () => ({
      project, where: state.where, text: state.text, archived: state.archived,
      order_by: writeSort(state.sort) || "created desc",
      columns: state.columns === null ? "*" : asked(state.columns).join(", "),
    }),
    [project, state.where, state.text, state.archived, state.sort, state.columns],
  );

  // -- rows
  const [range, setRange] = useState({ first: 0, last: PAGE - 1 });
  const onRange = useCallback((first: number, last: number) => {
    setRange((now) => (now.first === first && now.last === last ? now : { first, last }));
  }, []);
  const rows = useRows(question, range.first, range.last, !grouped);
  const [chosen, setChosen] = useState<string[]>([]);
  const answered = grouped ? (telling.data?.columns ?? chosen) : rows.columns;
  if (state.columns === null && answered.length && answered.join() !== chosen.join()) setChosen(answered);
  const names = useMemo(() => state.columns ?? usual(!project, chosen), [state.columns, project, chosen]);
  const groupColumns = useMemo(
    () => names.filter((name) => asked([name]).length > 0 && !state.group.includes(name) && !["host", "branch", "notes", "parent", "cause", "retries", "code", "id"].includes(name)),
    [names, state.group],
  );
  const cells = useMemo(() => (grouped ? asked(names) : rows.columns), [grouped, names, rows.columns]);
  const cellNames = cells.join("\n");
  const narrow = useNarrow();
  const metric = grouped ? (state.baseline ? 250 : 190) : state.baseline ? 170 : 116;
  const columns = useMemo(
    () => laidOut(names, cellNames ? cellNames.split("\n") : [], state.widths, state.pinned, { narrow, metric }),
    [names, cellNames, state.widths, state.pinned, narrow, metric],
  );

  // -- groups
  const groupOrder = writeSort(state.sort.filter((key) => state.group.includes(key.name) || groupColumns.includes(key.name)));
  const groups = useGroups({ ...question, order_by: groupOrder, columns: groupColumns.join(", ") }, state.group, grouped && (state.columns !== null || telling.isSuccess));
  const [openGroups, setOpenGroups] = useState<ReadonlySet<string>>(() => new Set());
  const opened = [...openGroups];
  const inGroups = useQueries({
    queries: opened.map((where) => ({
      queryKey: ["runs", "table", "in group", question, names, where],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        api.get("/v1/runs/table", { query: { ...question, where: joined([state.where, where].filter(Boolean)), columns: asked(names).join(", "), limit: IN_GROUP }, signal }),
      enabled: grouped,
    })),
  });
  const found = useMemo(() => groups.data?.pages.flatMap((page) => page.groups) ?? [], [groups.data]);
  const items: Item[] = [];
  if (grouped)
    for (const group of found) {
      const place = opened.indexOf(group.where);
      items.push({ kind: "group", group, open: place >= 0 });
      if (place < 0) continue;
      const inside = inGroups[place]?.data;
      if (!inside) items.push({ kind: "waiting" });
      for (const row of inside?.rows ?? []) items.push({ kind: "run", row, inGroup: true });
      if (inside && inside.total > inside.rows.length) items.push({ kind: "more", group, left: inside.total - inside.rows.length });
    }
  const total = grouped ? (groups.data?.pages[0]?.runs ?? 0) : rows.total;
  const itemCount = grouped ? items.length + (groups.hasNextPage ? 1 : 0) : rows.total;
  const itemAt = (index: number): Item => {
    if (grouped) return items[index] ?? { kind: "waiting" };
    const row = rows.at.get(index);
    return row ? { kind: "run", row, inGroup: false } : { kind: "waiting" };
  };
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = groups;
  const nearEnd = grouped && range.last >= items.length - 1;
  useEffect(() => {
    if (nearEnd && hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [nearEnd, hasNextPage, isFetchingNextPage, fetchNextPage]);
  const problem = grouped ? groups.error : rows.problem;
  const pending = grouped ? groups.isPending : rows.pending;
  const busy = grouped ? groups.isPlaceholderData : rows.stale;
  const exact = grouped || rows.exact;

  // -- baseline
  const baseline = useQuery({
    queryKey: ["runs", "baseline", state.baseline, cellNames],
    queryFn: ({ signal }) => api.get("/v1/runs/table", { query: { where: `id = '${state.baseline.replace(/[\\']/g, "")}'`, archived: true, columns: cells.join(", "), limit: 1 }, signal }),
    enabled: state.baseline !== "" && columns.length > 0,
  });
  const base: Row | null = (state.baseline && baseline.data?.rows[0]) || null;

  // -- ticks and the cursor
  const [ticked, setTicked] = useState<Ticked>(NOTHING);
  const [cursor, setCursor] = useState(-1);
  const [anchor, setAnchor] = useState(-1);
  const subject = JSON.stringify([question.where, question.text, question.order_by, question.archived, state.group]);
  const [before, setBefore] = useState(subject);
  if (before !== subject) {
    setBefore(subject);
    setCursor(-1);
    setAnchor(-1);
    setRange({ first: 0, last: PAGE - 1 });
    if (ticked.all) setTicked(NOTHING);
  }
  const runAt = (index: number): Row | null => {
    const item = itemAt(index);
    return item.kind === "run" ? item.row : null;
  };
  const tick = async (index: number, shift: boolean) => {
    const row = runAt(index);
    if (!row) return;
    const on = !(ticked.all || ticked.ids.has(row.id));
    const ids = new Set(ticked.all ? [...rows.at.values()].map((one) => one.id) : ticked.ids);
    const change = (id: string) => (on ? ids.add(id) : ids.delete(id));
    setCursor(index);
    setAnchor(index);
    if (shift && anchor >= 0 && anchor !== index) {
      const [low, high] = anchor < index ? [anchor, index] : [index, anchor];
      const between = Array.from({ length: high - low + 1 }, (_, at) => runAt(low + at));
      if (grouped || between.every(Boolean)) for (const one of between) { if (one) change(one.id); }
      else {
        // rows that were scrolled past have to be asked for
        for (let start = low; start <= high; start += 1000) {
          const page = await api.get("/v1/runs/table", { query: { ...question, columns: "", offset: start, limit: Math.min(1000, high + 1 - start) } });
          for (const one of page.rows) change(one.id);
        }
      }
    } else change(row.id);
    setTicked({ ids, all: false });
  };
  const latestTick = useRef(tick);
  useEffect(() => {
    latestTick.current = tick;
  });
  const onTick = useCallback((index: number, shift: boolean) => void latestTick.current(index, shift), []);
  const onCursor = useCallback((index: number) => setCursor(index), []);
  const openBeside = useCallback((id: string) => setSearch((now) => (now.run === id ? { run: undefined, tab: undefined } : { run: id }), { replace: Boolean(search.run) }), [setSearch, search.run]);
  const onBase = useCallback((id: string) => change({ baseline: id }), [change]);
  const isTicked = (id: string) => ticked.all || ticked.ids.has(id);
  const shownIds = grouped ? items.flatMap((item) => (item.kind === "run" ? [item.row.id] : [])) : [...rows.at.values()].map((row) => row.id);
  const tickedAll = ticked.all || (shownIds.length > 0 && shownIds.every((id) => ticked.ids.has(id))) ? "all" : ticked.ids.size ? "some" : "none";
  const onTickAll = () => setTicked(tickedAll === "all" ? NOTHING : { ids: new Set([...ticked.ids, ...shownIds]), all: false });

  const step = (by: number) => {
    let next = Math.min(itemCount - 1, Math.max(0, cursor + by));
    if (cursor < 0) next = 0;
    setCursor(next);
    const row = search.run ? runAt(next) : null;
    if (row) setSearch({ run: row.id }, { replace: true });
  };
  const atCursor = cursor >= 0 ? itemAt(cursor) : null;
  const toggleGroup = (group: Group) =>
    setOpenGroups((now) => {
      const next = new Set(now);
      if (!next.delete(group.where)) next.add(group.where);
      return next;
    });
  const [picking, setPicking] = useState(false);
  const [grouping, setGrouping] = useState(false);
  const [sharing, setSharing] = useState(false);
  useKeys(
    {
      j: { label: "Next run", run: () => step(1) },
      k: { label: "Previous run", run: () => step(-1) },
      ArrowDown: { label: "Next run", run: () => step(1), hidden: true },
      ArrowUp: { label: "Previous run", run: () => step(-1), hidden: true },
      x: { label: "Tick the run", run: () => cursor >= 0 && onTick(cursor, false) },
      "Shift+X": { label: "Tick all up to the run", run: () => cursor >= 0 && onTick(cursor, true) },
      Enter:
        atCursor?.kind === "run"
          ? {
              label: "Open the run beside the table",
              run: (event) => {
                if ((event.target as HTMLElement).closest("a, button, input, label, [role=button], [role=menuitem]")) (event.target as HTMLElement).click();
                else openBeside(atCursor.row.id);
              },
            }
          : atCursor?.kind === "group"
            ? { label: "Open the group", run: () => toggleGroup(atCursor.group) }
            : undefined,
      o: atCursor?.kind === "run" ? { label: "Open the run", run: () => void navigate({ to: "/runs/$run/{-$tab}", params: { run: atCursor.row.id } as never }) } : undefined,
      e: atCursor?.kind === "run" ? { label: "Clone and edit the run", run: () => void navigate({ to: "/runs/$run/{-$tab}", params: { run: atCursor.row.id }, search: { clone: "1" } } as never) } : undefined,
      b: atCursor?.kind === "run" ? { label: "Make the run the baseline", run: () => onBase(state.baseline === atCursor.row.id ? "" : atCursor.row.id) } : undefined,
      Escape: search.run ? { label: "Close the run beside", run: () => setSearch({ run: undefined, tab: undefined }) } : undefined,
    },
    { scope: "Runs" },
  );

  // the run page goes to its neighbours in this order
  useEffect(() => {
    const order = [...rows.at].sort(([a], [b]) => a - b).map(([, row]) => row.id);
    if (order.length) sessionStorage.setItem("larder.order", JSON.stringify(order.slice(0, 1000)));
  });

  // counts of values are costly: while runs are at work they are renewed now and then
  const last = useRef(0);
  useLive({ names: ["runs."] }, () => {
    if (Date.now() - last.current < COUNTED) return;
    last.current = Date.now();
    void client.invalidateQueries({ queryKey: ["run-facets"] });
  });

  const fault = faultOf(problem, "where");
  const narrowed = Boolean(state.where || state.text);
  const nothing = !pending && !problem && total === 0;
  const copied = { ...state, project };
  const limit = Math.min(Math.max(total, 1), COPIED);
  const exported = (form: "csv" | "parquet", whole: boolean) =>
    address("/v1/runs/export", {
      query: { form, project, where: state.where, text: state.text, archived: state.archived || undefined, order_by: question.order_by,
               columns: whole ? "" : ["name", ...names].filter((name) => name !== "complete").join(", ") },
    });
  return (
    <div className={styles.page}>
      <div className={styles.titleRow}>
        <h1 className="clip">{project || "Runs"}</h1>
        <span className="quiet tabular" role="status">
          {pending || problem ? "" : `${exact ? "" : "about "}${plural(total, "run")}${grouped ? ` in ${plural(groups.data?.pages[0]?.total ?? 0, "group")}` : ""}`}
        </span>
        <div className={`${styles.actions} push`}>
          <ViewsMenu
            project={project} current={search.view ?? ""} text={text}
            onOpen={(id) =>
              setSearch((now) => ({ ...Object.fromEntries(Object.keys(now).map((name) => [name, undefined])), project: now.project, view: id || undefined }))
            }
            onShare={() => setSharing(true)}
          />
          <Button icon="columns" onClick={() => setPicking(true)}>
            Columns
          </Button>
          <Button icon="menu" aria-pressed={grouped} onClick={() => setGrouping(true)}>
            {grouped ? "Grouped" : "Group"}
          </Button>
          <CopyAs python={asPython(copied, limit)} cli={asCommand(copied, limit)} curl={asCurl(copied, limit, window.location.origin)} />
          <Menu
            align="end"
            items={[
              { heading: `All ${plural(total, "run")}, as a file` },
              { label: "CSV, the columns shown", icon: "download", onSelect: () => download(exported("csv", false)) },
              { label: "CSV, everything", icon: "download", onSelect: () => download(exported("csv", true)) },
              { label: "Parquet, everything", icon: "download", onSelect: () => void downloadChecked(exported("parquet", true)) },
              "separator",
              { label: "Show archived runs", checked: state.archived, onSelect: () => change({ archived: !state.archived }) },
            ]}
          >
            <Button>
              More
              <Icon name="chevronDown" size={14} />
            </Button>
          </Menu>
        </div>
      </div>
      <div className={styles.finders}>
        <Button icon="filter" aria-pressed={state.facets} aria-expanded={state.facets} onClick={() => change({ facets: !state.facets })}>
          Narrow down
        </Button>
        <div className={styles.text}>
          <SearchBox label="Search" placeholder="Words, or a number you remember" value={state.text} onChange={(text) => change({ text }, { replace: Boolean(state.text) })} />
        </div>
        <WhereBox value={state.where} project={project} problem={fault ? [fault.message, fault.hint].filter(Boolean).join("\n") : ""} onChange={(where) => change({ where })} />
      </div>
      <BulkBar
        ticked={ticked} total={total} exact={exact} question={question} onClear={() => setTicked(NOTHING)}
        onAll={() => setTicked({ ids: new Set(), all: true })}
      />
      {problem && !fault && <ProblemBanner error={problem} retry={rows.retry} />}
      {state.baseline && baseline.isSuccess && !base && (
        <Banner kind="warn">The baseline is gone. <Button size="small" onClick={() => onBase("")}>Show without it</Button></Banner>
      )}
      <div className={`${styles.body} ${state.facets ? styles.withFacets : ""} ${search.run ? styles.withPanel : ""}`}>
        {state.facets && (
          <Facets
            project={project} where={state.where} text={state.text} archived={state.archived} onChange={(where) => change({ where })}
            onClose={() => change({ facets: false })}
          />
        )}
        <div className={styles.middle}>
          {fault ? (
            <Empty title="The filter is not understood">
              <p className="quiet">The sign under it points at the place. While you type, the box offers what may stand there.</p>
              <p className="row">
                <Button onClick={() => change({ where: "" })}>Show all runs</Button>
              </p>
            </Empty>
          ) : nothing && !narrowed ? (
            <NoRuns project={project} archived={state.archived} />
          ) : nothing ? (
            <Empty title="No runs match">
              <p className="quiet">{state.text ? "Search looks into names, tags, notes and values that round to what you type. " : ""}Archived runs are hidden unless you ask for them.</p>
              <p className="row">
                <Button onClick={() => change({ where: "", text: "" })}>Show all runs</Button>
                {!state.archived && <Button onClick={() => change({ archived: true })}>Look among the archived ones, too</Button>}
              </p>
            </Empty>
          ) : (
            <RunTable
              head={{ state, names, change, grouped }} columns={columns} count={pending ? 12 : itemCount} itemAt={itemAt} onRange={onRange} subject={subject}
              groupKeys={state.group} groupPlaces={columns.map((column) => groupColumns.indexOf(column.text))} base={base} onBase={onBase}
              ticked={isTicked} onTick={onTick} tickedAll={tickedAll} onTickAll={onTickAll} cursor={cursor} onCursor={onCursor}
              opened={search.run ?? ""} onOpen={openBeside} onToggleGroup={toggleGroup}
              onShowGroup={(group) => change({ where: joined([state.where, group.where].filter(Boolean)), group: [] })}
              busy={busy} label={`${project || "All"} runs, ${count(total)}`}
            />
          )}
        </div>
        {search.run && (
          <section className={styles.panel} aria-label="Run">
            <Suspense fallback={<SkeletonLines />}>
              <RunPanel id={search.run} tab={search.tab as never} onTab={(tab: string) => setSearch({ tab }, { replace: true })} onClose={() => setSearch({ run: undefined, tab: undefined })} />
            </Suspense>
          </section>
        )}
      </div>
      <ColumnPicker
        open={picking} project={project} columns={names} onChange={(columns) => change({ columns }, { replace: state.columns !== null })}
        onReset={() => change({ columns: null, pinned: 0, widths: {} })} onClose={() => setPicking(false)}
      />
      <GroupPicker open={grouping} project={project} group={state.group} onChange={(group) => change({ group })} onClose={() => setGrouping(false)} />
      {sharing && (
        <ShareDialog
          open onClose={() => setSharing(false)}
          target={{ kind: "view", view: { project, where: state.where, text: state.text, order_by: question.order_by } }}
        />
      )}
    </div>
  );
}

/** Whether the page stands on a phone. */
function useNarrow(): boolean {
  return useSyncExternalStore(
    (changed) => {
      NARROW.addEventListener("change", changed);
      return () => NARROW.removeEventListener("change", changed);
    },
    () => NARROW.matches,
  );
}
const NARROW = window.matchMedia("(max-width: 45rem)");

function NoRuns({ project, archived }: { project: string; archived: boolean }) {
  return (
    <Empty title={project ? `No runs in ${project} yet` : "No runs yet"}>
      <p className="quiet">Two lines in your script record one: parameters, metrics, code, packages and console come by themselves.</p>
      <Code label="Python">{`import larder\n\nrun = larder.init(project="${project || "my-project"}")`}</Code>
      <p className="quiet">Or record a command without touching its code:</p>
      <Code label="Command line">{`larder run -- python train.py`}</Code>
      {!archived && <p className="quiet small">This list fills by itself when the first run arrives.</p>}
    </Empty>
  );
}

function download(url: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}

/** A server may lack the library for this form: then its sentence is shown instead of a broken file. */
async function downloadChecked(url: string): Promise<void> {
  const stop = new AbortController();
  try {
    const answer = await fetch(url, { signal: stop.signal });
    if (answer.ok) download(url);
    else {
      const told = (await answer.json()) as { message?: string; hint?: string };
      toast({ text: [told.message, told.hint].filter(Boolean).join(" — "), bad: true });
    }
  } catch {
    toast({ text: "The server does not answer.", bad: true });
  } finally {
    stop.abort();
  }
}
