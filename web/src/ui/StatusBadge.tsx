import styles from "./ui.module.css";

const shapes: Record<string, string> = {
  // each status has its own shape, so that colour is never the only difference
  completed: "M1 6l3.5 3.5L11 2.5",
  failed: "M2 2l8 8M10 2l-8 8",
  running: "M3 1.5l7 4.5-7 4.5z",
  queued: "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1zM6 3.5V6l1.8 1.2",
  draft: "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1z",
  stopped: "M2 2h8v8H2z",
  lost: "M3.6 3.8a2.5 2.5 0 1 1 3.7 2.2C6.4 6.5 6 7 6 7.8M6 10.6v.01",
};

/** A run's status: a shape, a word and a colour. `reason` says why, on hover. */
export function StatusBadge({ status, reason, label = true }: { status: string; reason?: string; label?: boolean }) {
  return (
    <span className={`${styles.badge} ${styles[status] ?? styles.draft}`} title={reason || (label ? undefined : status)}>
      <svg
        viewBox="0 0 12 12" fill={status === "running" || status === "stopped" ? "currentColor" : "none"} stroke="currentColor" strokeWidth="1.8"
        strokeLinecap="round" strokeLinejoin="round" className={status === "running" ? styles.pulse : undefined} aria-hidden="true"
      >
        <path d={shapes[status] ?? shapes.draft} />
      </svg>
      {label ? status : <span className="hidden">{status}</span>}
    </span>
  );
}
