import { useDroppable } from "@dnd-kit/core";
import { Link } from "@tanstack/react-router";

import { count, plural } from "@/format";

import { policyOf, type Queue } from "./data";
import styles from "./queues.module.css";

export function QueueList({ queues, current, dragging, target }: { queues: Queue[]; current: string; dragging: boolean; target: string }) {
  const shown = queues.some((queue) => queue.name === current) ? queues : [...queues, { name: current, waiting: 0, leased: 0 } as Queue];
  return (
    <nav aria-label="Queues" className={styles.queues}>
      <ul>
        {shown.map((queue) => (
          <Entry key={queue.name} queue={queue} current={queue.name === current} dragging={dragging} id={target + queue.name} />
        ))}
      </ul>
    </nav>
  );
}

function Entry({ queue, current, dragging, id }: { queue: Queue; current: boolean; dragging: boolean; id: string }) {
  const { setNodeRef, isOver } = useDroppable({ id, disabled: current });
  const policy = policyOf(queue);
  return (
    <li ref={setNodeRef} className={`${styles.queue} ${dragging && !current ? styles.target : ""} ${isOver ? styles.over : ""}`}>
      <Link to="/queues/{-$queue}" params={{ queue: queue.name }} aria-current={current ? "page" : undefined} className={styles.queueLink} activeProps={{}}>
        <span className={`clip ${styles.queueName}`} title={queue.name}>
          {queue.name}
        </span>
        <span className="quiet small tabular">
          {count(queue.waiting)} waiting · {count(queue.leased)} running
        </span>
        <span className="quiet small">
          {policy.paused ? "paused" : policy.draining ? "draining" : queue.agents ? plural(queue.agents, "agent") : "no agent"}
        </span>
      </Link>
    </li>
  );
}
