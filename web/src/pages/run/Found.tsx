// The lines of the log that fit: found by the server, piece by piece, until the whole log was looked through.
import { useInfiniteQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef } from "react";

import { api, Problem } from "@/api/client";
import { count, plural } from "@/format";
import { Banner, Button, SkeletonLines } from "@/ui";

import { usePlace } from "./context";
import { Line, LINE_HEIGHT, lineAddress, type LineLook } from "./Line";
import styles from "./run.module.css";

const PAGE = 1000;
const MOST = 20_000;

export function Found({ query, total, look, follow, onOpen }: {
  query: { pattern: string; stream: string; rank: number | null }; total: number; look: LineLook & { onRank: (rank: number) => void };
  follow: boolean; onOpen: (number: number) => void;
}) {
  const { id, run } = usePlace();
  const box = useRef<HTMLDivElement>(null);
  const found = useInfiniteQuery({
    queryKey: ["console", id, run.attempt, "found", query],
    queryFn: ({ pageParam, signal }) =>
      api.get("/v1/runs/{run_id}/console", {
        params: { run_id: id },
        query: { after: pageParam, limit: PAGE, pattern: query.pattern, stream: query.stream, ...(query.rank !== null ? { rank: query.rank } : {}) },
        signal,
      }),
    initialPageParam: 0,
    getNextPageParam: (last) => last.last,
    // what was looked through stays found; new lines are the next page
    staleTime: Infinity,
    retry: false,
  });
  const pages = found.data?.pages;
  const lines = useMemo(() => pages?.flatMap((page) => page.lines) ?? [], [pages]);
  const last = pages?.[pages.length - 1];
  const looked = last?.last ?? 0;
  const behind = last !== undefined && looked < total && lines.length < MOST;
  const { fetchNextPage, isFetching, isError } = found;
  useEffect(() => {
    if (behind && !isFetching && !isError) void fetchNextPage();
  }, [behind, isFetching, isError, fetchNextPage, total]);
  useEffect(() => {
    for (const one of lines) if (one.line.rank) look.onRank(one.line.rank);
  }, [lines, look]);
  const virtual = useVirtualizer({ count: lines.length, getScrollElement: () => box.current, estimateSize: () => LINE_HEIGHT, overscan: 30 });
  useLayoutEffect(() => {
    if (follow && lines.length) virtual.scrollToIndex(lines.length - 1, { align: "end" });
  }, [follow, lines.length, virtual]);

  if (found.error)
    return (
      <Banner kind="bad" actions={<Button size="small" onClick={() => void found.refetch()}>Try again</Button>}>
        {found.error instanceof Problem ? [found.error.message, found.error.hint].filter(Boolean).join(" — ") : String(found.error)}
      </Banner>
    );
  if (!last) return <SkeletonLines lines={8} />;
  const digits = { "--digits": `${String(total).length}ch`, "--lines": `${virtual.getTotalSize() + 20}px` } as React.CSSProperties;
  return (
    <>
      {lines.length > 0 ? (
        <div ref={box} className={styles.log} style={digits} tabIndex={0} role="log" aria-live="off" aria-label={`Console, ${plural(lines.length, "line")} found`}>
          <div className={styles.rows} data-wrap={look.wrap} style={{ height: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map((item) => {
              const one = lines[item.index]!;
              return (
                <div
                  key={one.number} ref={look.wrap ? virtual.measureElement : undefined} data-index={item.index} className={styles.line} data-stream={one.line.stream}
                  style={{ transform: `translateY(${item.start}px)` }}
                >
                  <Line line={one} look={look} address={lineAddress(id, one.number)} onNumber={onOpen} />
                </div>
              );
            })}
          </div>
        </div>
      ) : (
        !behind && <p className="quiet">No line of {count(total)} fits.</p>
      )}
      <p className="quiet small tabular" role="status">
        {behind
          ? `${plural(lines.length, "line")} so far, looked through ${count(looked)} of ${count(total)}…`
          : `${plural(lines.length, "line")}${lines.length >= MOST ? ", more are not shown" : ""} of ${count(total)}. A line's number opens it in the log.`}
      </p>
    </>
  );
}
