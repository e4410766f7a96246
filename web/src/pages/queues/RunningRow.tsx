import { useMutation } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";

import { api } from "@/api/client";
import { shortId } from "@/format";
import { Confirm, Duration, IconButton, StatusBadge, toast, toastProblem } from "@/ui";

import { needsOf, type Job, type Names } from "./data";
import styles from "./queues.module.css";

export function RunningRow({ job, run }: { job: Job; run: Names[string] | undefined }) {
  const [asking, setAsking] = useState(false);
  const name = run?.name ?? shortId(job.subject);
  const stop = useMutation({
    mutationFn: () => api.post("/v1/runs/{run_id}/stop", { params: { run_id: job.subject }, body: {} }),
    onSuccess: () => void toast({ text: `${name} was asked to stop` }),
    onError: toastProblem,
    onSettled: () => setAsking(false),
  });
  return (
    <li className={`${styles.job} ${styles.leased}`}>
      <StatusBadge status={run?.status === "running" ? "running" : "queued"} label={false} />
      <span className={styles.what}>
        <Link to="/runs/$run/{-$tab}" params={{ run: job.subject }} className={`clip ${styles.name}`} title={run?.name}>
          {name}
        </Link>
        <span className="quiet small clip">{[run?.project, job.owner].filter(Boolean).join(" · ")}</span>
      </span>
      <span className={`quiet small clip ${styles.needs}`}>{needsOf(job)}</span>
      <span className={`small clip ${styles.why}`}>
        on{" "}
        <Link to="/agents" search={{ agent: job.agent } as never}>
          {job.agent}
        </Link>
        {job.gpus?.length ? <span className="quiet"> · GPU {job.gpus.join(", ")}</span> : null}
      </span>
      <span className={`small ${styles.starts}`}>
        {run?.status === "running" ? <Duration started={run.started} ended={null} /> : <span className="quiet">starting</span>}
      </span>
      <span className={styles.more}>
        <IconButton icon="stop" label={`Stop ${name}`} size="small" onClick={() => setAsking(true)} />
        <Confirm open={asking} onClose={() => setAsking(false)} title={`Stop ${name}?`} action="Stop it" busy={stop.isPending} onConfirm={() => stop.mutate()}>
          <p>It is asked to end, and ended after a grace period. What it has logged stays.</p>
        </Confirm>
      </span>
    </li>
  );
}
