// Queues: what waits, in which order, why, and when it starts; dragged to another place or another queue.
import {
  closestCenter, DndContext, DragOverlay, KeyboardSensor, MeasuringStrategy, PointerSensor, pointerWithin, useSensor, useSensors,
  type Announcements, type CollisionDetection, type DragEndEvent,
} from "@dnd-kit/core";
import { SortableContext, sortableKeyboardCoordinates, verticalListSortingStrategy } from "@dnd-kit/sortable";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState } from "react";

import { api, Problem } from "@/api/client";
import { count, plural } from "@/format";
import { useKeys } from "@/keys";
import { useAddress } from "@/nav";
import { useTitle } from "@/shell/title";
import { Button, Code, Empty, ProblemBanner, SkeletonLines } from "@/ui";

import { PART, useLine, useMove, useNames, useQueues, type Job, type Line, type Queue, type Waiting } from "./data";
import { History } from "./History";
import { JobRow, RowFace } from "./JobRow";
import { QueueHead } from "./QueueHead";
import { QueueList } from "./QueueList";
import styles from "./queues.module.css";
import { RunningRow } from "./RunningRow";

const TARGET = "queue:";

/** Over a queue's name the pointer means that queue; anywhere else the nearest row. */
const detect: CollisionDetection = (given) => {
  const isTarget = ({ id }: { id: string | number }) => String(id).startsWith(TARGET);
  const targets = pointerWithin({ ...given, droppableContainers: given.droppableContainers.filter(isTarget) });
  if (targets.length) return targets;
  return closestCenter({ ...given, droppableContainers: given.droppableContainers.filter((one) => !isTarget(one)) });
};

export default function Queues() {
  const { queue: asked } = useParams({ strict: false }) as { queue?: string };
  const queues = useQueues();
  const busiest = [...(queues.data?.queues ?? [])].sort((a, b) => b.waiting + b.leased - (a.waiting + a.leased))[0];
  const queue = asked ?? busiest?.name ?? (queues.data ? "default" : "");
  useTitle(asked ? `${asked} · queues` : "queues");
  const who = useQuery({ queryKey: ["whoami"], queryFn: ({ signal }) => api.get("/v1/whoami", { signal }), staleTime: 5 * 60_000 });
  const steers = who.data?.role === "maintainer" || who.data?.role === "admin";

  if (queues.error instanceof Problem && queues.error.code === "unauthenticated") throw queues.error;
  if (queues.error && !queues.data) return <ProblemBanner error={queues.error} retry={() => void queues.refetch()} />;
  return (
    <div className="stack">
      <h1>Queues</h1>
      {!queue ? <SkeletonLines lines={8} /> : <OneQueue key={queue} queue={queue} others={queues.data?.queues ?? []} steers={steers} />}
    </div>
  );
}

function OneQueue({ queue, others, steers }: { queue: string; others: Queue[]; steers: boolean }) {
  const [search, change] = useAddress();
  const limit = Math.min(1000, Math.max(PART, Number(search.n) || PART));
  const { data, error, refetch } = useLine(queue, limit);
  const [held, setHeld] = useState<Line | null>(null);
  // while something is dragged, nothing else moves under the pointer
  const line = held ?? data;
  const names = useNames([...(line?.leased ?? []), ...(line?.waiting ?? []).map((one) => one.job)].map((job) => job.subject));
  const move = useMove(queue, limit, names);
  const [dragged, setDragged] = useState<Waiting | null>(null);
  const [said, setSaid] = useState("");
  const list = useRef<HTMLOListElement>(null);
  const focus = useRef("");
  const sensors = useSensors(
    useSensor(PointerSensor, { activationConstraint: { distance: 4 } }),
    useSensor(KeyboardSensor, { coordinateGetter: sortableKeyboardCoordinates }),
  );
  const waiting = useMemo(() => line?.waiting ?? [], [line]);
  const ids = useMemo(() => waiting.map((one) => one.job.id), [waiting]);
  const nameOf = (job: Job) => names[job.subject]?.name ?? `job ${job.id.slice(-8)}`;

  const place = (job: Job, at: number) => {
    const from = ids.indexOf(job.id);
    const to = Math.max(0, Math.min(ids.length - 1, at));
    if (from < 0 || from === to) return;
    const rest = ids.filter((id) => id !== job.id);
    const whole = waiting.length >= (line?.queue.waiting ?? 0);
    if (to === 0) move.mutate({ job, to: "top" });
    else if (to === rest.length && whole) move.mutate({ job, to: "bottom" });
    else if (to < rest.length) move.mutate({ job, before: rest[to] });
    else return;
    setSaid(`${nameOf(job)} is now number ${to + 1} of ${count(line!.queue.waiting)}`);
  };

  useEffect(() => {
    // a row that was moved in the page has lost the focus
    if (!focus.current) return;
    list.current?.querySelector<HTMLElement>(`[data-job="${focus.current}"]`)?.focus();
    focus.current = "";
  }, [ids]);

  const step = (by: number) => {
    const rows = [...(list.current?.querySelectorAll<HTMLElement>("[data-job]") ?? [])];
    if (!rows.length) return;
    const now = rows.findIndex((row) => row.contains(document.activeElement));
    rows[now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, now + by))]?.focus();
  };
  const current = (): Job | null => {
    const id = document.activeElement?.closest<HTMLElement>("[data-job]")?.dataset.job;
    return waiting.find((one) => one.job.id === id)?.job ?? null;
  };
  const shift = (by: number | "top" | "bottom") => {
    const job = current();
    if (!job) return;
    focus.current = job.id;
    place(job, by === "top" ? 0 : by === "bottom" ? ids.length - 1 : ids.indexOf(job.id) + by);
  };
  useKeys(
    {
      j: { label: "Next job", run: () => step(1) },
      k: { label: "Previous job", run: () => step(-1) },
      "Alt+ArrowUp": { label: "Move the job up", run: () => shift(-1) },
      "Alt+ArrowDown": { label: "Move the job down", run: () => shift(1) },
      "Alt+Home": { label: "Move the job to the top", run: () => shift("top") },
      "Alt+End": { label: "Move the job to the bottom", run: () => shift("bottom") },
    },
    { scope: "Queues" },
  );

  const end = ({ active, over }: DragEndEvent) => {
    const entry = waiting.find((one) => one.job.id === active.id);
    setHeld(null);
    setDragged(null);
    if (!entry || !over) return;
    const target = String(over.id);
    if (target.startsWith(TARGET)) {
      const other = target.slice(TARGET.length);
      if (other !== queue) move.mutate({ job: entry.job, to: "bottom", queue: other });
    } else place(entry.job, ids.indexOf(target));
  };

  const announcements: Announcements = {
    onDragStart: ({ active }) => `Picked up ${spoken(active.id)}. The arrow keys move it, Space puts it down, Escape leaves it where it was.`,
    onDragOver: ({ over }) => (over ? `Over ${spoken(over.id)}` : undefined),
    onDragEnd: ({ over }) => (over ? `Put down at ${spoken(over.id)}` : "Put back"),
    onDragCancel: () => "Left where it was",
  };
  const spoken = (id: string | number) => {
    const text = String(id);
    if (text.startsWith(TARGET)) return `queue ${text.slice(TARGET.length)}`;
    const entry = waiting.find((one) => one.job.id === text);
    return entry ? `${nameOf(entry.job)}, number ${ids.indexOf(text) + 1}` : "nothing";
  };

  return (
    <DndContext
      sensors={sensors} collisionDetection={detect} measuring={{ droppable: { strategy: MeasuringStrategy.Always } }}
      accessibility={{ announcements, screenReaderInstructions: { draggable: "Space picks the job up. Or press Alt and an arrow key." } }}
      onDragStart={({ active }) => {
        setHeld(data ?? null);
        setDragged(waiting.find((one) => one.job.id === active.id) ?? null);
      }}
      onDragCancel={() => {
        setHeld(null);
        setDragged(null);
      }}
      onDragEnd={end}
    >
      <div className={styles.page}>
        <QueueList queues={others} current={queue} dragging={dragged !== null} target={TARGET} />
        <div className={styles.main}>
          {error && !data ? (
            <ProblemBanner error={error} retry={() => void refetch()} />
          ) : !line ? (
            <SkeletonLines lines={8} />
          ) : (
            <>
              <QueueHead queue={line.queue} steers={steers} />
              {line.leased.length > 0 && (
                <section aria-labelledby="running">
                  <h3 id="running" className={styles.heading}>
                    Running <span className="quiet">{count(line.queue.leased)}</span>
                  </h3>
                  <ul className={styles.list}>
                    {line.leased.map((job) => (
                      <RunningRow key={job.id} job={job} run={names[job.subject]} />
                    ))}
                  </ul>
                </section>
              )}
              <section aria-labelledby="waiting">
                <h3 id="waiting" className={styles.heading}>
                  Waiting <span className="quiet">{count(line.queue.waiting)}</span>
                </h3>
                {waiting.length ? (
                  <SortableContext items={ids} strategy={verticalListSortingStrategy}>
                    <ol ref={list} className={styles.list}>
                      {waiting.map((one) => (
                        <JobRow
                          key={one.job.id} entry={one} run={names[one.job.subject]} last={one.ahead === waiting.length - 1}
                          queues={others.map((other) => other.name).filter((name) => name !== queue)}
                          onPlace={(at) => place(one.job, at === "bottom" ? ids.length - 1 : at)}
                          onQueue={(other) => move.mutate({ job: one.job, to: "bottom", queue: other })}
                        />
                      ))}
                    </ol>
                  </SortableContext>
                ) : (
                  <NothingWaits queue={queue} ever={line.leased.length > 0 || others.some((one) => one.name === queue)} />
                )}
                {line.queue.waiting > waiting.length && (
                  <Button onClick={() => change({ n: String(limit + PART) }, { replace: true })}>
                    Show more of {plural(line.queue.waiting, "job")}
                  </Button>
                )}
              </section>
              <History queue={queue} />
            </>
          )}
        </div>
      </div>
      <p className="hidden" role="status" aria-live="polite">
        {said}
      </p>
      <DragOverlay>{dragged && <RowFace entry={dragged} run={names[dragged.job.subject]} lifted />}</DragOverlay>
    </DndContext>
  );
}

function NothingWaits({ queue, ever }: { queue: string; ever: boolean }) {
  if (ever) return <p className={`quiet ${styles.nothing}`}>Nothing waits here.</p>;
  return (
    <Empty title={`Nothing waits in ${queue}`} level={3}>
      <p>Put a script into the queue; an agent executes it with the code as it is now. Any draft or ended run can be cloned and enqueued, too.</p>
      <Code label="Put a script into the queue">{`larder run --queue ${queue} -- python train.py\nlarder agent start --queue ${queue}`}</Code>
    </Empty>
  );
}
