// Light, dark, or as the system has it; kept in this browser.
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";
const KEY = "larder.theme";
const media = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

export function theme(): Theme {
  const said = document.documentElement.dataset.theme;
  return said === "light" || said === "dark" ? said : "system";
}

export function setTheme(next: Theme): void {
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // a browser that keeps nothing forgets it with this tab
  }
  tell();
}

function tell(): void {
  for (const listener of listeners) listener();
}
media.addEventListener("change", tell);
window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  if (event.newValue === "light" || event.newValue === "dark") document.documentElement.dataset.theme = event.newValue;
  else delete document.documentElement.dataset.theme;
  tell();
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
  return useSyncExternalStore(subscribe, () => (theme() === "system" ? media.matches : theme() === "dark"));
}
