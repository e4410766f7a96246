import { useSortable } from "@dnd-kit/sortable";
import { CSS } from "@dnd-kit/utilities";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type CSSProperties, type ReactNode, type Ref } from "react";

import { api } from "@/api/client";
import { shortId } from "@/format";
import { Button, Confirm, Icon, IconButton, Menu, Popover, SkeletonLines, Time, toast, toastProblem } from "@/ui";

import { needsOf, type Names, type Waiting } from "./data";
import styles from "./queues.module.css";

type Named = Names[string] | undefined;

export function JobRow({
  entry, run, last, queues, onPlace, onQueue,
}: {
  entry: Waiting; run: Named; last: boolean; queues: string[]; onPlace: (at: number | "bottom") => void; onQueue: (queue: string) => void;
}) {
  const { setNodeRef, setActivatorNodeRef, attributes, listeners, transform, transition, isDragging } = useSortable({ id: entry.job.id });
  const [asking, setAsking] = useState(false);
  const client = useQueryClient();
  const name = run?.name ?? shortId(entry.job.subject);
  const remove = useMutation({
    mutationFn: () => api.post("/v1/runs/{run_id}/stop", { params: { run_id: entry.job.subject }, body: { reason: "taken out of the queue" } }),
    onSuccess: () => void toast({ text: `${name} was taken out of the queue` }),
    onError: toastProblem,
    onSettled: () => {
      setAsking(false);
      return client.invalidateQueries({ queryKey: ["queues"] });
    },
  });
  return (
    <RowFace
      entry={entry} run={run} ref={setNodeRef} dragging={isDragging}
      style={{ transform: CSS.Translate.toString(transform), transition }}
      handle={
        <button
          ref={setActivatorNodeRef} type="button" className={styles.handle} {...attributes} {...listeners} aria-label={`Move ${name}`}
          title="Drag, or press Alt and an arrow key"
        >
          <Icon name="drag" />
        </button>
      }
      why={<Why entry={entry} name={name} />}
      menu={
        <>
          <Menu
            align="end"
            items={[
              { label: "To the top", hint: "Alt Home", onSelect: () => onPlace(0), disabled: entry.ahead === 0 },
              { label: "Up", hint: "Alt ↑", onSelect: () => onPlace(entry.ahead - 1), disabled: entry.ahead === 0 },
              { label: "Down", hint: "Alt ↓", onSelect: () => onPlace(entry.ahead + 1), disabled: last },
              { label: "To the bottom", hint: "Alt End", onSelect: () => onPlace("bottom"), disabled: last },
              queues.length > 0 && "separator",
              queues.length > 0 && { heading: "To another queue" },
              ...queues.slice(0, 12).map((queue) => ({ label: queue, onSelect: () => onQueue(queue) })),
              "separator",
              { label: "Take out of the queue …", danger: true, onSelect: () => setAsking(true) },
            ]}
          >
            <IconButton icon="more" label={`Actions for ${name}`} tooltip={false} size="small" />
          </Menu>
          <Confirm
            open={asking} onClose={() => setAsking(false)} title={`Take ${name} out of the queue?`} action="Take it out" busy={remove.isPending}
            onConfirm={() => remove.mutate()}
          >
            <p>The run is stopped before it has begun. It stays in the table of runs, and can be cloned and enqueued again.</p>
          </Confirm>
        </>
      }
    />
  );
}

/** A row as it looks; also under the pointer while it is dragged. */
export function RowFace({
  entry, run, ref, style, handle, why, menu, dragging = false, lifted = false,
}: {
  entry: Waiting; run: Named; ref?: Ref<HTMLLIElement>; style?: CSSProperties; handle?: ReactNode; why?: ReactNode; menu?: ReactNode;
  dragging?: boolean; lifted?: boolean;
}) {
  const { job } = entry;
  const needs = needsOf(job);
  const Row = lifted ? "div" : "li";
  return (
    <Row
      ref={ref as never} style={style} data-job={lifted ? undefined : job.id} tabIndex={lifted ? undefined : -1}
      className={`${styles.job} ${dragging ? styles.dragging : ""} ${lifted ? styles.lifted : ""}`}
    >
      {handle ?? (
        <span className={styles.handle}>
          <Icon name="drag" />
        </span>
      )}
      <span className={`quiet small tabular ${styles.number}`}>{entry.ahead + 1}</span>
      <span className={styles.what}>
        <Link to="/runs/$run/{-$tab}" params={{ run: job.subject }} className={`clip ${styles.name}`} title={run?.name}>
          {run?.name ?? shortId(job.subject)}
        </Link>
        <span className="quiet small clip">
          {[run?.project, job.owner, job.team && `team ${job.team}`, job.priority === "automatic" && "automatic"].filter(Boolean).join(" · ")}
        </span>
      </span>
      <span className={`quiet small clip ${styles.needs}`} title={needs}>
        {needs}
      </span>
      <span className={styles.why}>{why ?? <span className="quiet small clip">{entry.reason}</span>}</span>
      <span className={`small ${styles.starts}`}>
        <Starts at={entry.starts} reason={entry.reason} />
      </span>
      <span className={styles.more}>{menu}</span>
    </Row>
  );
}

function Starts({ at, reason }: { at: number | null | undefined; reason: string | undefined }) {
  if (at === null || at === undefined) return (
      <span className={`quiet ${styles.unknown}`} title="When it starts is not known: it is not known how long the jobs before it take, or no agent can take it">
        {reason ? "–" : ""}
      </span>
    );
  if (at / 1000 <= Date.now() + 5_000) return <>starts now</>;
  return (
    <>
      starts <Time at={at} />
    </>
  );
}

function Why({ entry, name }: { entry: Waiting; name: string }) {
  const [open, setOpen] = useState(false);
  const { data } = useQuery({
    queryKey: ["queues", "why", entry.job.id],
    queryFn: ({ signal }) => api.get("/v1/jobs/{job_id}/why", { params: { job_id: entry.job.id }, signal }),
    enabled: open,
  });
  return (
    <Popover
      label={`Why ${name} waits`} open={open} onOpenChange={setOpen}
      trigger={
        <Button kind="quiet" size="small" className={styles.reason} title={entry.reason}>
          <span className="clip">{entry.reason || "Could start at once"}</span>
        </Button>
      }
    >
      <div className={styles.whyBody}>
        <h3>Why it waits</h3>
        {!data ? (
          <SkeletonLines lines={2} />
        ) : data.reasons.length ? (
          <ul>
            {data.reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        ) : (
          <p>It could start at once.</p>
        )}
        {data?.starts != null && (
          <p className="quiet small">
            Expected to start <Time at={data.starts} />, going by how long such jobs took.
          </p>
        )}
      </div>
    </Popover>
  );
}
