import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Command } from "cmdk";
import { useEffect, useRef, useState } from "react";

import { api, type Answer } from "@/api/client";
import { copyText, Icon, StatusBadge, Time, toast, useTheme, type IconName } from "@/ui";

import styles from "./palette.module.css";

type Hit = Answer<"/v1/look-up", "get">["hits"][number];

const KINDS: { kind: string; heading: string; icon: IconName }[] = [
  { kind: "run", heading: "Runs", icon: "play" },
  { kind: "project", heading: "Projects", icon: "columns" },
  { kind: "artifact", heading: "Artifacts", icon: "archive" },
  { kind: "param", heading: "Parameters", icon: "settings" },
  { kind: "metric", heading: "Metrics", icon: "compare" },
  { kind: "tag", heading: "Tags", icon: "tag" },
  { kind: "queue", heading: "Queues", icon: "menu" },
  { kind: "agent", heading: "Agents", icon: "panel" },
];

interface Action {
  label: string;
  words?: string;
  icon: IconName;
  run: () => void;
}

export default function Finder({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const asked = useLate(text.trim(), 90);
  const navigate = useNavigate();
  const [, setTheme] = useTheme();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // the dialog gives the focus to its first button
    const frame = requestAnimationFrame(() => input.current?.focus());
    return () => cancelAnimationFrame(frame);
  }, []);
  const { data, isPending, isPlaceholderData } = useQuery({
    queryKey: ["runs", "look-up", asked],
    queryFn: ({ signal }) => api.get("/v1/look-up", { query: { text: asked }, signal }),
    placeholderData: keepPreviousData,
    staleTime: 5_000,
  });
  const sets = useQuery({
    queryKey: ["datasets", "look-up", asked],
    queryFn: ({ signal }) => api.get("/v1/datasets", { query: { text: asked, limit: 6 }, signal }),
    placeholderData: keepPreviousData,
    staleTime: 5_000,
    enabled: asked.length > 1,
  });
  const datasets = asked.length > 1 ? (sets.data?.datasets ?? []) : [];
  const go = (run: () => unknown) => {
    onClose();
    void run();
  };
  const actions: Action[] = [
    { label: "Home", words: "projects start", icon: "star", run: () => void navigate({ to: "/" }) },
    { label: "Runs", words: "table experiments search", icon: "play", run: () => void navigate({ to: "/runs" }) },
    { label: "Queues", words: "waiting jobs", icon: "menu", run: () => void navigate({ to: "/queues/{-$queue}", params: {} }) },
    { label: "Agents", words: "machines workers gpu", icon: "panel", run: () => void navigate({ to: "/agents" }) },
    { label: "Data", words: "datasets versions files", icon: "archive", run: () => void navigate({ to: "/datasets" }) },
    { label: "Settings", words: "profile me", icon: "settings", run: () => void navigate({ to: "/settings/{-$section}", params: {} }) },
    { label: "Make a token", words: "tokens secret login api key", icon: "plus", run: () => void navigate({ to: "/settings/{-$section}", params: { section: "tokens" }, search: { new: "1" } as never }) },
    { label: "Shares", words: "links public", icon: "share", run: () => void navigate({ to: "/settings/{-$section}", params: { section: "shares" } }) },
    { label: "Running now", words: "active status", icon: "play", run: () => void navigate({ to: "/runs", search: { where: "status:running" } as never }) },
    { label: "Failed in the last day", words: "errors problems", icon: "warning", run: () => void navigate({ to: "/runs", search: { where: "status:failed and ended > -1d" } as never }) },
    { label: "Dark theme", words: "appearance night", icon: "moon", run: () => setTheme("dark") },
    { label: "Light theme", words: "appearance day", icon: "sun", run: () => setTheme("light") },
    { label: "Theme of the system", words: "appearance", icon: "sun", run: () => setTheme("system") },
    {
      label: "Copy the address of this page", words: "link url share", icon: "link",
      run: () => void copyText(location.href).then((done) => toast(done ? { text: "Copied the address" } : { text: "The browser does not let this page copy", bad: true })),
    },
    { label: "Reference of the API", words: "openapi rest documentation", icon: "external", run: () => location.assign("/api") },
  ];
  const low = text.trim().toLowerCase();
  const fitting = actions.filter(({ label, words }) => low && low.split(/\s+/).every((word) => `${label} ${words}`.toLowerCase().includes(word)));
  // what was found for another text is shown until the answer is here, but Enter does not take it
  const answered = data !== undefined && asked === text.trim() && !isPlaceholderData;
  const hits = KINDS.flatMap(({ kind }) => (data?.hits ?? []).filter((hit) => hit.kind === kind));
  const first = fitting[0] ? `action ${fitting[0].label}` : answered && hits[0] ? valueOf(hits[0]) : answered && datasets[0] ? `dataset ${datasets[0].id}` : low ? "search all runs" : "";
  const [value, setValue] = useState("");
  const [chosenFor, setChosenFor] = useState("");
  if (chosenFor !== first) {
    setChosenFor(first);
    setValue(first);
  }
  const open = (hit: Hit) => go(() => void navigate(target(hit)));
  const clone = (hit: Hit | undefined) => {
    if (hit?.kind === "run") go(() => void navigate({ to: "/runs/$run/{-$tab}", params: { run: hit.id }, search: { clone: "1" } } as never));
  };
  const chosen = hits.find((one) => valueOf(one) === value);
  // who presses it before the answer is here means its first hit
  const [early, setEarly] = useState("");
  useEffect(() => {
    if (!early || !answered) return;
    setEarly("");
    if (early === asked) clone(hits[0]);
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [early, answered, asked]);
  return (
    <Command
      onKeyDown={(event) => {
        if (event.key !== "Enter" || !event.shiftKey) return;
        event.preventDefault();
        if (answered) clone(chosen);
        else setEarly(low ? text.trim() : "");
      }}
      shouldFilter={false} value={value} onValueChange={setValue} loop label="Find anything" className={styles.palette} vimBindings={false}
    >
      <div className={styles.field}>
        <Icon name="search" />
        <Command.Input ref={input} value={text} onValueChange={setText} placeholder="A run, a project, a number, a page, an action …" />
      </div>
      <Command.List className={styles.list} label="Found" aria-busy={!answered}>
        {low && !isPending && answered && !data?.hits.length && !datasets.length && !fitting.length && (
          <p className={styles.none} role="status">
            Nothing is called so.
          </p>
        )}
        {fitting.length > 0 && (
          <Command.Group heading="Pages and actions">
            {fitting.slice(0, 6).map((action) => (
              <Command.Item key={action.label} value={`action ${action.label}`} onSelect={() => go(action.run)} className={styles.item}>
                <Icon name={action.icon} />
                <span className={styles.title}>{action.label}</span>
              </Command.Item>
            ))}
          </Command.Group>
        )}
        {KINDS.map(({ kind, heading, icon }) => {
          const found = hits.filter((hit) => hit.kind === kind);
          if (!found.length) return null;
          return (
            <Command.Group key={kind} heading={!low && kind === "run" ? "Newest runs" : heading}>
              {found.map((hit) => (
                <Command.Item key={`${hit.id} ${hit.title}`} value={valueOf(hit)} onSelect={() => open(hit)} className={styles.item}>
                  {hit.status ? <StatusBadge status={hit.status} label={false} /> : <Icon name={icon} />}
                  <span className={`clip ${styles.title}`}>{hit.title}</span>
                  <span className="quiet small clip">{[hit.kind !== "project" && hit.project, hit.detail].filter(Boolean).join(" · ")}</span>
                  {hit.kind === "run" && (
                    <span className={`quiet small ${styles.when}`}>
                      <Time at={hit.time} tooltip={false} />
                    </span>
                  )}
                </Command.Item>
              ))}
            </Command.Group>
          );
        })}
        {low && datasets.length > 0 && (
          <Command.Group heading="Datasets">
            {datasets.map((one) => (
              <Command.Item
                key={one.id} value={`dataset ${one.id}`} className={styles.item}
                onSelect={() => go(() => void navigate({ to: "/datasets/$dataset/{-$version}/{-$section}", params: { dataset: one.id, version: undefined, section: undefined } } as never))}
              >
                <Icon name="archive" />
                <span className={`clip ${styles.title}`}>{one.name}</span>
                <span className="quiet small clip">{[one.project, one.newest ? `v${one.newest.number}` : "no version yet"].join(" · ")}</span>
              </Command.Item>
            ))}
          </Command.Group>
        )}
        {low && (
          <Command.Group heading="All runs">
            <Command.Item value="search all runs" className={styles.item} onSelect={() => go(() => void navigate({ to: "/runs", search: { text: text.trim() } as never }))}>
              <Icon name="search" />
              <span className={`clip ${styles.title}`}>Search the runs for “{text.trim()}”</span>
            </Command.Item>
          </Command.Group>
        )}
        {!low && (
          <Command.Group heading="Pages and actions">
            {actions.slice(0, 6).map((action) => (
              <Command.Item key={action.label} value={`action ${action.label}`} onSelect={() => go(action.run)} className={styles.item}>
                <Icon name={action.icon} />
                <span className={styles.title}>{action.label}</span>
              </Command.Item>
            ))}
          </Command.Group>
        )}
      </Command.List>
      <p className={`quiet small ${styles.foot}`}>↑ ↓ to choose · Enter to open{chosen?.kind === "run" && " · Shift Enter to clone and edit"} · Esc to close</p>
    </Command>
  );
}

function valueOf(hit: Hit): string {
  return `${hit.kind} ${hit.id} ${hit.title}`;
}

function target(hit: Hit): never {
  const found = () => {
    if (hit.kind === "run") return { to: "/runs/$run/{-$tab}", params: { run: hit.id } };
    if (hit.kind === "artifact") return { to: "/runs/$run/{-$tab}", params: { run: hit.id, tab: "artifacts" }, search: { artifact: hit.artifact } };
    if (hit.kind === "project") return { to: "/projects/$project", params: { project: hit.id } };
    if (hit.kind === "queue") return { to: "/queues/{-$queue}", params: { queue: hit.id } };
    if (hit.kind === "agent") return { to: "/agents", search: { agent: hit.id } };
    return { to: "/runs", search: { where: hit.where } };
  };
  return found() as never;
}

/** A value that follows after a pause, so that not every letter is a question. */
function useLate<T>(value: T, milliseconds: number): T {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return late;
}
