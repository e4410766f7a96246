// The log from its first line to its last, a window of it at a time.
import { keepPreviousData, useQueries } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef } from "react";

import { api } from "@/api/client";
import { plural } from "@/format";
import { Button } from "@/ui";

import { usePlace } from "./context";
import { Line, LINE_HEIGHT, lineAddress, type LineLook, type NumberedLine } from "./Line";
import styles from "./run.module.css";

const CHUNK = 500;

export function Log({ first, total, line, follow, look, onFollow, onLine }: {
  first: number; total: number; line: number | null; follow: boolean; look: LineLook & { onRank: (rank: number) => void };
  onFollow: (on: boolean) => void; onLine: (number: number) => void;
}) {
  const { id, run } = usePlace();
  const box = useRef<HTMLDivElement>(null);
  const rows = total - first + 1;
  const virtual = useVirtualizer({
    count: rows, getScrollElement: () => box.current, estimateSize: () => LINE_HEIGHT, overscan: 30,
    initialOffset: () => (line !== null ? Math.max(0, (line - first - 8) * LINE_HEIGHT) : follow ? rows * LINE_HEIGHT : 0),
  });
  const items = virtual.getVirtualItems();
  const from = Math.floor((first + (items[0]?.index ?? 0) - 1) / CHUNK);
  const to = Math.floor((first + (items[items.length - 1]?.index ?? 0) - 1) / CHUNK);
  const chunks = useMemo(() => Array.from({ length: to - from + 1 }, (_, index) => from + index), [from, to]);
  const found = useQueries({
    queries: chunks.map((chunk) => {
      const whole = (chunk + 1) * CHUNK <= total;
      return {
        // a chunk that is full does not change within an attempt; the last one grows
        queryKey: ["console", id, run.attempt, first, chunk, whole ? "whole" : total],
        queryFn: ({ signal }: { signal: AbortSignal }) =>
          api.get("/v1/runs/{run_id}/console", { params: { run_id: id }, query: { after: chunk * CHUNK, limit: CHUNK }, signal }),
        staleTime: Infinity,
        placeholderData: keepPreviousData,
      };
    }),
  });
  const lines = useMemo(() => {
    const all = new Map<number, NumberedLine>();
    for (const answer of found) for (const one of answer.data?.lines ?? []) all.set(one.number, one);
    return all;
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [found.map((one) => one.dataUpdatedAt).join()]);
  useEffect(() => {
    for (const one of lines.values()) if (one.line.rank) look.onRank(one.line.rank);
  }, [lines, look]);

  // the end stays in view while somebody follows it
  useLayoutEffect(() => {
    if (follow && rows) virtual.scrollToIndex(rows - 1, { align: "end" });
  }, [follow, rows, virtual]);
  const jumped = useRef<number | null>(line);
  useEffect(() => {
    if (line !== null && jumped.current !== line) {
      const index = line - first;
      const seen = virtual.getVirtualItems();
      if (index < (seen[0]?.index ?? 0) || index > (seen[seen.length - 1]?.index ?? 0)) virtual.scrollToIndex(index, { align: "center" });
    }
    jumped.current = line;
  }, [line, first, virtual]);
  const followed = useRef(follow);
  followed.current = follow;

  const digits = { "--digits": `${String(total).length}ch`, "--lines": `${virtual.getTotalSize() + 20}px` } as React.CSSProperties;
  return (
    <>
      <div
        ref={box} className={styles.log} style={digits} tabIndex={0} role="log" aria-live="off" aria-label={`Console, ${plural(rows, "line")}`}
        onWheel={(event) => event.deltaY < 0 && followed.current && onFollow(false)}
        onKeyDown={(event) => {
          if (["ArrowUp", "PageUp", "Home"].includes(event.key) && followed.current) onFollow(false);
          if (event.key === "End" && !followed.current && run.status === "running" && !event.ctrlKey) onFollow(true);
        }}
      >
        <div className={styles.rows} data-wrap={look.wrap} style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const number = first + item.index;
            const one = lines.get(number);
            return (
              <div
                key={item.key} ref={look.wrap ? virtual.measureElement : undefined} data-index={item.index} className={styles.line} data-stream={one?.line.stream}
                data-here={number === line || undefined} style={{ transform: `translateY(${item.start}px)` }}
              >
                {one ? (
                  <Line line={one} look={look} here={number === line} address={lineAddress(id, number)} onNumber={onLine} />
                ) : (
                  <span className={styles.lineNumber}>{number}</span>
                )}
              </div>
            );
          })}
        </div>
      </div>
      <div className="row quiet small">
        <span className="tabular">{plural(rows, "line")}</span>
        <span className="push row">
          <Button size="small" kind="quiet" onClick={() => { onFollow(false); virtual.scrollToIndex(0); }}>
            To the start
          </Button>
          <Button size="small" kind="quiet" onClick={() => virtual.scrollToIndex(rows - 1, { align: "end" })}>
            To the end
          </Button>
        </span>
      </div>
    </>
  );
}
