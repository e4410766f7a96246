// A condition being written: what may come next, and what is wrong at which character.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState, type KeyboardEvent } from "react";

import { api, type Schemas } from "@/api/client";
import { Icon } from "@/ui";
import { useKeys } from "@/keys";

import styles from "./runs.module.css";

type Completion = Schemas["Completion"];

export function WhereBox({ value, project, problem, onChange }: { value: string; project: string; problem: string; onChange: (where: string) => void }) {
  const [typed, setTyped] = useState(value);
  const [outside, setOutside] = useState(value);
  const [caret, setCaret] = useState(value.length);
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  if (value !== outside) {
    // Back, a facet or a view has changed it
    setOutside(value);
    setTyped(value);
  }
  const settled = useSettled(`${caret}\n${typed}`, 120);
  const answer = useQuery({
    queryKey: ["completions", project, settled],
    queryFn: ({ signal }) => {
      const at = settled.indexOf("\n");
      return api.get("/v1/runs/complete", {
        query: { where: settled.slice(at + 1), position: Number(settled.slice(0, at)), project, limit: 30 },
        signal,
      });
    },
    enabled: open,
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });
  const fresh = answer.data && !answer.isPlaceholderData ? answer.data : null;
  const offers = open && answer.data ? (answer.data.completions ?? []).filter((one) => fits(one, typed, caret)) : [];
  const fault = open && fresh && typed.trim() && fresh.at !== null && fresh.at !== undefined && fresh.at < caret - 1 ? fresh : null;

  const apply = (text: string) => {
    setOpen(false);
    setActive(-1);
    const trimmed = text.trim();
    setOutside(trimmed);
    setTyped(trimmed);
    if (trimmed !== value) onChange(trimmed);
  };
  const accept = (one: Completion) => {
    const after = typed.slice(one.end);
    const text = typed.slice(0, one.start) + one.text + (after.startsWith(" ") || one.text.endsWith(" ") || one.text.endsWith("(") ? "" : " ") + after;
    const place = text.length - after.length;
    setTyped(text);
    setCaret(place);
    setActive(-1);
    requestAnimationFrame(() => input.current?.setSelectionRange(place, place));
    input.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      const count = offers.length;
      if (count) setActive((now) => (event.key === "ArrowDown" ? (now + 1) % count : (now <= 0 ? count : now) - 1));
    } else if (event.key === "Enter" || (event.key === "Tab" && active >= 0)) {
      const one = offers[active];
      if (one) {
        event.preventDefault();
        accept(one);
      } else if (event.key === "Enter") apply(typed);
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (open && offers.length) setOpen(false);
      else {
        setTyped(value);
        input.current?.blur();
      }
    }
  };
  useKeys({ f: { label: "Filter runs", run: () => input.current?.focus() } }, { scope: "Runs" });

  return (
    <div className={styles.where}>
      <div className={styles.whereBox}>
        <Icon name="filter" />
        <input
          ref={input} className={styles.whereInput} type="text" role="combobox" aria-label="Filter" aria-autocomplete="list" aria-expanded={offers.length > 0}
          aria-controls={`${id}-list`} aria-activedescendant={active >= 0 && offers[active] ? `${id}-${active}` : undefined}
          aria-invalid={Boolean(problem || fault)} aria-describedby={problem || fault ? `${id}-problem` : undefined}
          placeholder="metrics.val/mae < 3 and user:evi" value={typed} spellCheck={false} autoComplete="off" autoCapitalize="off"
          onChange={(event) => {
            setTyped(event.target.value);
            setCaret(event.target.selectionStart ?? event.target.value.length);
            setOpen(true);
            setActive(-1);
          }}
          onSelect={(event) => setCaret(event.currentTarget.selectionStart ?? 0)}
          onFocus={() => setOpen(true)}
          onBlur={() => apply(typed)}
          onKeyDown={onKeyDown}
        />
        {typed && (
          <button type="button" className={styles.clear} aria-label="Clear the filter" onMouseDown={(event) => event.preventDefault()} onClick={() => apply("")}>
            <Icon name="close" size={14} />
          </button>
        )}
      </div>
      <ul id={`${id}-list`} role="listbox" aria-label="What may come next" className={styles.offers} hidden={!offers.length}>
        {offers.map((one, index) => (
          <li
            key={`${one.kind} ${one.text}`} id={`${id}-${index}`} role="option" aria-selected={index === active} className={styles.offer}
            ref={index === active ? scrollTo : undefined}
            onMouseDown={(event) => event.preventDefault()} onClick={() => accept(one)}
          >
            <span className="mono clip">{one.text.trim()}</span>
            <span className={`${styles.offerNote} clip`}>{one.note || one.kind}</span>
          </li>
        ))}
      </ul>
      {(fault || (problem && !open)) && (
        <pre id={`${id}-problem`} className={styles.fault} role="alert">
          {fault ? `${typed}\n${" ".repeat(fault.at!)}^ ${fault.problem}` : problem}
        </pre>
      )}
    </div>
  );
}

function scrollTo(element: HTMLElement | null): void {
  element?.scrollIntoView({ block: "nearest" });
}

/** Whether an offer, made for what stood there a moment ago, still continues what is typed. */
function fits(one: Completion, typed: string, caret: number): boolean {
  const word = typed.slice(one.start, caret).toLowerCase().replace(/^["'`]|["'`]$/g, "");
  return one.start <= caret && one.text.toLowerCase().includes(word) && one.text.trim() !== typed.slice(one.start, caret);
}

function useSettled<T>(value: T, delay: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(value), delay);
    return () => window.clearTimeout(timer);
  }, [value, delay]);
  return settled;
}
