import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { api } from "@/api/client";
import { duration } from "@/format";
import { useAddress } from "@/nav";
import { Segments, Skeleton } from "@/ui";
import { Chart } from "@/ui/Chart";

import styles from "./queues.module.css";

const SPANS = [
  { id: "6", label: "6 h" },
  { id: "24", label: "24 h" },
  { id: "168", label: "7 d" },
  { id: "720", label: "30 d" },
];

/** How long the queue was, and how long jobs waited in it. */
export function History({ queue }: { queue: string }) {
  const [search, change] = useAddress();
  const hours = SPANS.some((one) => one.id === search.hours) ? search.hours! : "24";
  const { data } = useQuery({
    queryKey: ["queue-history", queue, hours],
    queryFn: ({ signal }) => api.get("/v1/queues/{queue}/history", { params: { queue }, query: { hours: Number(hours), points: 96 }, signal }),
    placeholderData: keepPreviousData,
    refetchInterval: 60_000,
  });
  const [lengths, waits] = useMemo(() => {
    const x = data?.times.map((time) => time / 1e6) ?? [];
    const known = data?.waits.flatMap((value, index) => (value === null ? [] : [[x[index]!, value] as const])) ?? [];
    return [
      data
        ? [
            { id: "waiting", label: "waiting", x, y: data.waiting },
            { id: "leased", label: "running", x, y: data.leased },
          ]
        : [],
      data
        ? [
            { id: "waits", label: "median wait", x: known.map(([at]) => at), y: known.map(([, value]) => value) },
            // both charts show the same time, however few jobs have started
            { id: "span", label: "", faint: true, x: [x[0]!, x[x.length - 1]!], y: [null, null] },
          ]
        : [],
    ];
  }, [data]);
  return (
    <section aria-labelledby="over-time" className={styles.history}>
      <div className="row">
        <h3 id="over-time">Over time</h3>
        <span className="push">
          <Segments options={SPANS} value={hours} onChange={(next) => change({ hours: next === "24" ? undefined : next }, { replace: true })} label="How far back" />
        </span>
      </div>
      <div className={styles.charts}>
        <figure>
          <figcaption className="small">Jobs</figcaption>
          {data ? <Chart label={`Jobs of ${queue} over time`} series={lengths} x={{ kind: "time" }} y={{ range: [0, null] }} height={150} /> : <Skeleton height={150} />}
        </figure>
        <figure>
          <figcaption className="small">Wait before a job starts</figcaption>
          {!data ? (
            <Skeleton height={150} />
          ) : waits[0]!.x.length ? (
            <Chart label={`Median wait in ${queue}`} series={waits} x={{ kind: "time" }} y={{ range: [0, null], format: duration }} height={150} />
          ) : (
            <p className={`quiet small ${styles.nothing}`}>No job has started in this time.</p>
          )}
        </figure>
      </div>
    </section>
  );
}
