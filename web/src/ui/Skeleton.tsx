import styles from "./ui.module.css";

/** The shape of what comes, never a spinner. Announce the wait once, on the region: `aria-busy`. */
export function Skeleton({ width = "100%", height = "1em" }: { width?: string | number; height?: string | number }) {
  return <span className={styles.skeleton} style={{ width, height }} aria-hidden="true" />;
}

export function SkeletonLines({ lines = 6 }: { lines?: number }) {
  const widths = ["92%", "78%", "85%", "64%", "88%", "71%"];
  return (
    <div className={styles.skeletonLines} role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, index) => (
        <Skeleton key={index} width={widths[index % widths.length]} />
      ))}
    </div>
  );
}

export function PageSkeleton() {
  return (
    <div className="stack">
      <Skeleton width="14rem" height="1.6rem" />
      <SkeletonLines lines={8} />
    </div>
  );
}
