// One line of the console: its number, which is its address, and its text with the colours that the script gave it.
import { memo, type ReactNode } from "react";

import type { Answer } from "@/api/client";

import styles from "./run.module.css";

export type NumberedLine = Answer<"/v1/runs/{run_id}/console", "get">["lines"][number];

export interface LineLook {
  wrap: boolean;
  times: boolean;
  ranked: boolean;
}

export const LINE_HEIGHT = 20;

export const Line = memo(function Line({ line, look, here, address, onNumber }: { line: NumberedLine; look: LineLook; here?: boolean; address: string; onNumber: (number: number) => void }) {
  return (
    <>
      <a
        className={styles.lineNumber} href={address} aria-label={`Line ${line.number}`} aria-current={here || undefined} tabIndex={-1}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          onNumber(line.number);
        }}
      >
        {line.number}
      </a>
      {look.times && <span className={styles.lineTime}>{clock(line.line.time)}</span>}
      {look.ranked && <span className={styles.lineRank}>{line.line.rank}</span>}
      <span className={styles.text}>{coloured(line.line.text, line.spans)}</span>
    </>
  );
});

function clock(time: number): string {
  const at = new Date(time / 1000);
  return at.toLocaleTimeString("en-GB", { hour12: false });
}

const ESCAPE = /\x1b\[([0-9;]*)([A-Za-z])|\x1b\][^\x07]*(?:\x07|\x1b\\)/g;
const KNOWN = new Set(["1", "31", "32", "33", "34", "35", "36", "90"]);

/** The text as nodes: found spots are marked, escape sequences become colours or go. */
export function coloured(text: string, spans: readonly (readonly number[])[]): ReactNode {
  if (!spans.length && !text.includes("\x1b")) return text || " ";
  // places where something changes, in UTF-16 as JavaScript counts; the server counts characters
  const characters = spans.length && /[\ud800-\udfff]/.test(text) ? Array.from(text) : null;
  const at = (index: number) => (characters ? characters.slice(0, index).join("").length : index);
  const marked = spans.map(([from, to]) => [at(from ?? 0), at(to ?? 0)] as const);
  const nodes: ReactNode[] = [];
  let classes: string[] = [];
  const put = (from: number, to: number) => {
    let start = from;
    const add = (end: number, found: boolean) => {
      if (end <= start) return;
      const piece = text.slice(start, end);
      const inside = found ? <mark key={`m${start}`}>{piece}</mark> : piece;
      nodes.push(classes.length ? <span key={start} className={classes.map((one) => styles[one]).join(" ")}>{inside}</span> : inside);
      start = end;
    };
    for (const [first, last] of marked) {
      if (last <= start || first >= to) continue;
      add(Math.max(first, start), false);
      add(Math.min(last, to), true);
    }
    add(to, false);
  };
  let done = 0;
  for (const match of text.matchAll(ESCAPE)) {
    put(done, match.index);
    done = match.index + match[0].length;
    if (match[2] !== "m") continue;
    const codes = (match[1] || "0").split(";").map((code) => (/^9[1-7]$/.test(code) ? `3${code[1]}` : code));
    for (const code of codes)
      if (code === "0" || code === "" || code === "39") classes = [];
      else if (KNOWN.has(code)) classes = [...classes.filter((one) => (code === "1" ? one !== "ansi1" : one === "ansi1")), `ansi${code}`];
  }
  put(done, text.length);
  return nodes;
}

/** The address of a line, for a link that can be copied. */
export function lineAddress(run: string, number: number): string {
  return `/runs/${run}/console?line=${number}`;
}
