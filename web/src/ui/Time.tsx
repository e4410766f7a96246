import { useSyncExternalStore } from "react";

import { absolute, duration, relative } from "@/format";

import { Tooltip } from "./Tooltip";

// one clock for all times of a page: a tick every five seconds, and one every second for what runs
function clock(every: number) {
  let now = Date.now();
  let timer: number | undefined;
  const listeners = new Set<() => void>();
  return {
    subscribe: (listener: () => void) => {
      if (!listeners.size) {
        now = Date.now();
        timer = window.setInterval(() => {
          if (document.hidden) return;
          now = Date.now();
          for (const each of listeners) each();
        }, every);
      }
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        if (!listeners.size) window.clearInterval(timer);
      };
    },
    read: () => now,
  };
}
const slow = clock(5000);
const quick = clock(1000);

/** Milliseconds since 1970, renewed every second, or every five. */
export function useNow({ everySecond = false }: { everySecond?: boolean } = {}): number {
  const source = everySecond ? quick : slow;
  return useSyncExternalStore(source.subscribe, source.read);
}

/** A moment (UTC microseconds): relative, the absolute on hover. `tooltip={false}` in long lists (then as a title). */
export function Time({ at, tooltip = true }: { at: number | null | undefined; tooltip?: boolean }) {
  const now = useNow();
  if (at === null || at === undefined) return <span className="quiet">–</span>;
  const element = (
    <time dateTime={new Date(at / 1000).toISOString()} title={tooltip ? undefined : absolute(at)} className="tabular">
      {relative(at, now)}
    </time>
  );
  return tooltip ? <Tooltip text={absolute(at)}>{element}</Tooltip> : element;
}

/** How long something took, or has been going on when `ended` is empty (both UTC microseconds). */
export function Duration({ started, ended }: { started: number | null | undefined; ended?: number | null }) {
  if (started === null || started === undefined) return <span className="quiet">–</span>;
  return ended ? <span className="tabular">{duration((ended - started) / 1e6)}</span> : <Running started={started} />;
}

function Running({ started }: { started: number }) {
  const now = useNow({ everySecond: true });
  return <span className="tabular">{duration(Math.floor((now * 1000 - started) / 1e6))}</span>;
}
