// What just happened, in a corner; with `undo` for a while. Call `toast(...)` from anywhere; <Toasts/> stands in the shell.
import { useEffect, useRef, useSyncExternalStore } from "react";

import { Problem } from "@/api/client";

import { IconButton } from "./Button";
import styles from "./ui.module.css";

export interface ToastOptions {
  text: string;
  /** Shown as a button for the time that the toast stands. */
  undo?: () => void | Promise<unknown>;
  /** Another button, such as "Open". */
  action?: { label: string; run: () => void };
  bad?: boolean;
  seconds?: number;
}
interface Shown extends ToastOptions {
  id: number;
}

let shown: Shown[] = [];
let last = 0;
const listeners = new Set<() => void>();
function set(next: Shown[]): void {
  shown = next;
  for (const listener of listeners) listener();
}

export function toast(options: ToastOptions): () => void {
  const id = ++last;
  const close = () => set(shown.filter((one) => one.id !== id));
  set([...shown.slice(-3), { ...options, id }]);
  setTimeout(close, (options.seconds ?? (options.bad || options.undo ? 10 : 5)) * 1000);
  return close;
}

/** The words of a refusal; for `catch` and `onError`. */
export function toastProblem(error: unknown): void {
  const text = error instanceof Problem ? [error.message, error.hint].filter(Boolean).join(" — ") : String(error);
  toast({ text, bad: true });
}

export function Toasts() {
  const list = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => shown,
  );
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // shown anew each time, so that it lies above a dialog that was opened since
    const region = ref.current;
    if (!region?.showPopover) return;
    if (region.matches(":popover-open")) region.hidePopover();
    if (list.length) region.showPopover();
  }, [list]);
  return (
    <div ref={ref} popover="manual" className={styles.toasts} role="region" aria-label="Messages" aria-live="polite">
      {list.map((one) => (
        <div key={one.id} className={`${styles.toast} ${one.bad ? styles.bad : ""}`} role={one.bad ? "alert" : "status"}>
          <span className={styles.toastText}>{one.text}</span>
          {one.action && (
            <button type="button" className={`${styles.button} ${styles.smallButton}`} onClick={() => { close(one.id); one.action!.run(); }}>
              {one.action.label}
            </button>
          )}
          {one.undo && (
            <button
              type="button" className={`${styles.button} ${styles.smallButton}`}
              onClick={() => {
                close(one.id);
                Promise.resolve(one.undo!()).catch(toastProblem);
              }}
            >
              Undo
            </button>
          )}
          <IconButton icon="close" label="Dismiss" size="small" tooltip={false} onClick={() => close(one.id)} />
        </div>
      ))}
    </div>
  );
}

function close(id: number): void {
  set(shown.filter((one) => one.id !== id));
}
