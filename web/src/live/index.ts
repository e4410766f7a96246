// What the server announces while it happens; what an event makes stale is asked again.
import { useQueryClient, type QueryClient, type QueryKey } from "@tanstack/react-query";
import { useEffect, useRef, useSyncExternalStore } from "react";

import { onAnswer } from "@/api/client";

import { follow, type LiveEvent, type LiveState, type Told } from "./stream";

export type { LiveEvent } from "./stream";

type Listener = (events: LiveEvent[]) => void;
const listeners = new Set<Listener>();
const anew = new Set<() => void>();

let stream: LiveState | null = null;
let unanswered = false;
const watchers = new Set<() => void>();

function changed(): void {
  for (const watcher of watchers) watcher();
}

function hear(told: Told): void {
  if (told.kind === "events") for (const listener of listeners) listener(told.events);
  else if (told.kind === "anew") for (const look of anew) look();
  else {
    const back = stream !== null && stream !== "open" && told.state === "open";
    stream = told.state;
    if (told.state === "open") unanswered = false;
    changed();
    if (back) for (const look of anew) look();
  }
}

onAnswer((answered) => {
  if (unanswered === !answered) return;
  unanswered = !answered;
  changed();
});

let started = false;
function start(): void {
  if (started) return;
  started = true;
  // since when this page may hold what it has loaded
  const loading = () => performance.now() / 1000 + 1;
  if ("SharedWorker" in window)
    try {
      const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), { type: "module", name: "larder-live" });
      worker.port.onmessage = ({ data }: MessageEvent<Told>) => hear(data);
      worker.port.postMessage(loading());
      addEventListener("pagehide", () => worker.port.postMessage("bye"));
      addEventListener("pageshow", (event) => {
        if (!event.persisted) return;
        worker.port.postMessage(0);
        for (const look of anew) look();
      });
      return;
    } catch {
      // a browser that forbids it: this tab gets a connection of its own
    }
  follow(hear, loading());
}

export interface Wanted {
  /** Beginnings of events' names, such as "runs." or "queues.job_moved". */
  names?: string[];
  /** Ids of what it happened to. */
  subjects?: string[];
  /** Only events of this project, and those that do not say theirs. */
  project?: string;
}

/** Called with the events that are wanted, while mounted; all when nothing is said. */
export function useLive({ names, subjects, project }: Wanted, onEvents: Listener): void {
  const latest = useRef(onEvents);
  useEffect(() => {
    latest.current = onEvents;
  });
  const key = JSON.stringify([names, subjects, project]);
  useEffect(() => {
    const [wanted, about, within] = JSON.parse(key) as [string[] | null, string[] | null, string | null];
    const listener: Listener = (events) => {
      const fitting = events.filter(
        (event) =>
          (!wanted || wanted.some((name) => event.name.startsWith(name))) &&
          (!about || about.includes(event.subject)) &&
          (!within || typeof event.data.project !== "string" || event.data.project === within),
      );
      if (fitting.length) latest.current(fitting);
    };
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }, [key]);
}

function subscribe(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** Whether the server does not answer; ends by itself. */
export function useServerAway(): boolean {
  return useSyncExternalStore(subscribe, () => stream === "away" || (unanswered && stream !== "open"));
}

/** Mounted once by the shell. Query keys start with the noun: ["runs", …], ["run", id, …], ["queues"], ["agents"], … */
export function LiveBridge(): null {
  const client = useQueryClient();
  useEffect(() => {
    const stale = new Stale(client);
    const listener: Listener = (events) => {
      for (const event of events) for (const [key, apart] of made(event)) stale.add(key, apart);
    };
    const all = () => stale.add([], 0);
    listeners.add(listener);
    anew.add(all);
    start();
    return () => {
      listeners.delete(listener);
      anew.delete(all);
      stale.stop();
    };
  }, [client]);
  return null;
}

/** Seconds between two looks at something large that small things keep changing. */
const SELDOM = 2_000;

/** What an event makes stale, and how many milliseconds lie at least between two looks at that. */
function made(event: LiveEvent): [QueryKey, number][] {
  const noun = event.name.slice(0, event.name.indexOf("."));
  if (event.name === "runs.logged") return [[["run", event.subject], 500], [["runs"], SELDOM], [["home"], SELDOM]];
  if (event.name === "queues.agent_seen") return [[["agents"], 500]];
  if (noun === "runs") return [[["run", event.subject], 0], [["runs"], 0], [["home"], 500], [["compare"], 500]];
  if (noun === "queues") return [[["queues"], 0], [["agents"], 0], ...(event.name === "queues.lease_expired" ? [[["run", event.subject], 0] as [QueryKey, number]] : [])];
  if (event.name === "datasets.used") return [[["datasets", "uses"], 500]];
  if (noun === "projects") return [[["projects"], 0], [["home"], 0]];
  if (noun === "tenants") return [[["tokens"], 0], [["users"], 0], [["whoami"], 0]];
  return [[[noun], 0]];
}

/** Gathers what is stale and has it asked again: at once, but never while the last asking goes on. */
class Stale {
  private waiting = new Map<string, { key: QueryKey; apart: number }>();
  private asked = new Map<string, number>();
  private busy = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly client: QueryClient) {}

  add(key: QueryKey, apart: number): void {
    this.waiting.set(JSON.stringify(key), { key, apart });
    if (this.timer === undefined) this.timer = setTimeout(() => this.flush(), 30);
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private flush(): void {
    this.timer = undefined;
    const now = Date.now();
    let next = Infinity;
    for (const [text, { key, apart }] of this.waiting) {
      const left = this.busy.has(text) ? 100 : (this.asked.get(text) ?? 0) + apart - now;
      if (left > 0) {
        next = Math.min(next, left);
        continue;
      }
      this.waiting.delete(text);
      this.asked.set(text, now);
      this.busy.add(text);
      const done = () => this.busy.delete(text);
      // a server that is away is asked for ever: that must not keep other events from being heard
      void Promise.race([this.client.invalidateQueries({ queryKey: key }), new Promise((resume) => setTimeout(resume, 3_000))]).then(done, done);
    }
    if (next < Infinity) this.timer = setTimeout(() => this.flush(), Math.max(30, next));
  }
}
