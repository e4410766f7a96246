import { Link } from "@tanstack/react-router";
import { useEffect, useRef, type KeyboardEvent, type ReactNode } from "react";

import styles from "./ui.module.css";

export interface TabItem<T extends string = string> {
  id: T;
  label: ReactNode;
  count?: number;
}

/** Tabs that are addresses: links, so that they open in a new window and Back works. */
export function TabLinks<T extends string>({ tabs, current, to, label }: { tabs: TabItem<T>[]; current: T; to: (id: T) => { to: string; params?: object; search?: unknown }; label: string }) {
  const list = useRef<HTMLElement>(null);
  useEffect(() => {
    // on a phone the open one may lie outside of the row
    const row = list.current;
    const open = row?.querySelector<HTMLElement>("[aria-current=page]");
    if (row && open) row.scrollLeft = Math.max(0, open.offsetLeft - row.offsetLeft - (row.clientWidth - open.offsetWidth) / 2);
  }, [current]);
  return (
    <nav ref={list} className={styles.tabs} aria-label={label}>
      {tabs.map((tab) => {
        const target = to(tab.id) as { to: "/" };
        return (
          <Link key={tab.id} {...target} className={styles.tab} aria-current={tab.id === current ? "page" : undefined} activeProps={{}} activeOptions={{ exact: true, includeSearch: false }} resetScroll={false}>
            {tab.label}
            {tab.count !== undefined && <span className={styles.tabCount}>{tab.count.toLocaleString("en")}</span>}
          </Link>
        );
      })}
    </nav>
  );
}

/** Tabs inside a page; the owner shows the panel: `<div role="tabpanel" id={panelId}>`. Arrow keys move. */
export function Tabs<T extends string>({ tabs, current, onChange, label, panelId }: { tabs: TabItem<T>[]; current: T; onChange: (id: T) => void; label: string; panelId?: string }) {
  const list = useRef<HTMLDivElement>(null);
  return (
    <div ref={list} role="tablist" aria-label={label} className={styles.tabs} onKeyDown={(event) => step(event, tabs, current, onChange, list.current)}>
      {tabs.map((tab) => (
        <button
          key={tab.id} type="button" role="tab" className={styles.tab} aria-selected={tab.id === current} aria-controls={panelId}
          tabIndex={tab.id === current ? 0 : -1} onClick={() => onChange(tab.id)}
        >
          {tab.label}
          {tab.count !== undefined && <span className={styles.tabCount}>{tab.count.toLocaleString("en")}</span>}
        </button>
      ))}
    </div>
  );
}

/** One of a few, side by side: a chart's axis, a kind of view. */
export function Segments<T extends string>({ options, value, onChange, label }: { options: { id: T; label: ReactNode }[]; value: T; onChange: (id: T) => void; label: string }) {
  const list = useRef<HTMLDivElement>(null);
  return (
    <div ref={list} role="radiogroup" aria-label={label} className={styles.segments} onKeyDown={(event) => step(event, options, value, onChange, list.current)}>
      {options.map((option) => (
        <button
          key={option.id} type="button" role="radio" className={styles.segment} aria-checked={option.id === value}
          tabIndex={option.id === value ? 0 : -1} onClick={() => onChange(option.id)}
        >
          {option.label}
        </button>
      ))}
    </div>
  );
}

function step<T extends string>(event: KeyboardEvent, options: { id: T }[], current: T, onChange: (id: T) => void, list: HTMLElement | null): void {
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const next = (options.findIndex((option) => option.id === current) + by + options.length) % options.length;
  onChange(options[next]!.id);
  (list?.children[next] as HTMLElement | undefined)?.focus();
}
