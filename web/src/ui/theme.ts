// Light, dark, or as the system has it; kept in this browser.
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";
const KEY = "larder.theme";
const media = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

// kept here too, for a browser that keeps nothing
let chosen: Theme = read();

function read(): Theme {
  try {
    const said = localStorage.getItem(KEY);
    return said === "light" || said === "dark" ? said : "system";
  } catch {
    return "system";
  }
}

export function theme(): Theme {
  return chosen;
}

export function setTheme(next: Theme): void {
  try {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // it is forgotten with this tab
  }
  show(next);
}

/** What public/theme.js has done before the first paint. */
function show(next: Theme): void {
  chosen = next;
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  for (const listener of listeners) listener();
}

function isDark(): boolean {
  return chosen === "system" ? media.matches : chosen === "dark";
}
media.addEventListener("change", () => show(chosen));
window.addEventListener("storage", (event) => {
  if (event.key === KEY) show(read());
});

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useTheme(): [Theme, (theme: Theme) => void] {
  return [useSyncExternalStore(subscribe, theme), setTheme];
}

/** What is shown now; charts draw anew when it changes. */
export function useDark(): boolean {
  return useSyncExternalStore(subscribe, isDark);
}
