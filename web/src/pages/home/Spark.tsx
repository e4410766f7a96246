import styles from "./home.module.css";

/** A few values as a line, the best of them marked; as wide as its place. */
export function Spark({ values, lower, label }: { values: number[]; lower: boolean; label: string }) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const x = (index: number) => 2 + (index / (values.length - 1)) * 116;
  const y = (value: number) => (high === low ? 14 : 3 + ((high - value) / (high - low)) * 22);
  const best = values.indexOf(lower ? low : high);
  return (
    <svg className={styles.spark} viewBox="0 0 120 28" preserveAspectRatio="none" role="img" aria-label={label}>
      <polyline points={values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ")} />
      <line className={styles.mark} x1={x(best)} x2={x(best)} y1={y(values[best]!)} y2={y(values[best]!)} />
    </svg>
  );
}
