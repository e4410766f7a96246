// One registry of keys: what is mounted listens; `?` lists what there is. A key is "j", "?", "Shift+X", "Ctrl+K", "Alt+ArrowUp".
import { useEffect, useRef, useSyncExternalStore } from "react";

export interface Key {
  label: string;
  run: (event: KeyboardEvent) => void;
  /** Also while a text field has the focus (only for keys with Ctrl or Alt, and Escape). */
  whileTyping?: boolean;
  /** Not listed under `?`. */
  hidden?: boolean;
}
export type Keys = Record<string, Key | undefined>;

interface Entry {
  scope: string;
  current: { keys: Keys };
}

let entries: Entry[] = [];
let version = 0;
const listeners = new Set<() => void>();

function changed(): void {
  version += 1;
  for (const listener of listeners) listener();
}

/** Listen to keys while mounted. What was mounted last is asked first; `scope` is the heading under `?`. */
export function useKeys(keys: Keys, { scope = "This page", active = true }: { scope?: string; active?: boolean } = {}): void {
  const current = useRef({ keys });
  useEffect(() => {
    current.current.keys = keys;
  });
  useEffect(() => {
    if (!active) return;
    const entry = { scope, current: current.current };
    entries = [entry, ...entries];
    changed();
    return () => {
      entries = entries.filter((other) => other !== entry);
      changed();
    };
  }, [scope, active]);
}

/** What `?` lists: scopes in order, each with its keys. */
export function useKeyList(): { scope: string; keys: [string, string][] }[] {
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => version,
  );
  const found = new Map<string, [string, string][]>();
  for (const { scope, current } of entries)
    for (const [name, key] of Object.entries(current.keys))
      if (key && !key.hidden) found.set(scope, [...(found.get(scope) ?? []), [name, key.label]]);
  return [...found].map(([scope, keys]) => ({ scope, keys }));
}

/** How an event is written as a key. Shift is only said where it does not change the character. */
export function nameOf(event: KeyboardEvent): string {
  const modifiers = [event.ctrlKey || event.metaKey ? "Ctrl" : "", event.altKey ? "Alt" : ""].filter(Boolean);
  const single = event.key.length === 1;
  if (event.shiftKey && (!single || /[a-z]/i.test(event.key))) modifiers.push("Shift");
  const key = event.key === " " ? "Space" : single && (modifiers.length || /[A-Z]/.test(event.key)) ? event.key.toUpperCase() : event.key;
  return [...modifiers, key].join("+");
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select"))
  );
}

function handle(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const name = nameOf(event);
  const typing = isTyping(event.target);
  // a dialog covers the page: only what says that it is meant for typing goes past it
  const covered = document.querySelector("dialog:modal") !== null;
  for (const { scope, current } of entries) {
    const key = current.keys[name];
    if (!key || (typing && !key.whileTyping) || (covered && scope !== "Dialog" && !key.whileTyping)) continue;
    event.preventDefault();
    key.run(event);
    return;
  }
}

window.addEventListener("keydown", handle);
