// What stands in a cell: of a run, of a group, and its difference from the baseline.
import { Link } from "@tanstack/react-router";
import { memo, type ReactNode } from "react";

import { number, signed, value as shown } from "@/format";
import { Duration, Icon, StatusBadge, TagChip, Time } from "@/ui";
import { lowerIsBetter } from "../run/metrics";

import { COMPLETE, type Column } from "./columns";
import type { Group, Row, Spread } from "./data";
import styles from "./runs.module.css";

export type Cell = Row["cells"] extends (infer C)[] | undefined ? C : never;

export function cellOf(row: Row, column: Column): Cell {
  return column.cell === null || column.cell < 0 ? null : (row.cells?.[column.cell] ?? null);
}

export const RunCell = memo(function RunCell({ row, column, base }: { row: Row; column: Column; base: Row | null }): ReactNode {
  switch (column.text) {
    case "name":
      return (
        <>
          <Link to="/runs/$run/{-$tab}" params={{ run: row.id }} className={`${styles.name} clip`} title={row.name}>
            {row.name}
          </Link>
          {row.archived && <Icon name="archive" size={13} className={styles.mark} />}
          {row.published && <Icon name="pin" size={13} className={styles.mark} />}
        </>
      );
    case "status":
      return <StatusBadge status={row.status} reason={row.reason} />;
    case "created":
    case "started":
    case "ended":
      return <Time at={row[column.text]} tooltip={false} />;
    case "duration":
      return <Duration started={row.started} ended={row.ended} />;
    case "tags":
      return (row.tags ?? []).map((tag) => <TagChip key={tag} tag={tag} />);
    case COMPLETE:
      // what a run lacks is known when it has begun
      return row.status === "draft" || row.status === "queued" ? <span className="quiet">–</span> : <Completeness missing={row.missing ?? []} />;
    case "commit":
      return <span className="mono">{row.commit?.slice(0, 10)}</span>;
    case "project":
    case "user":
    case "kind":
      return <span className="clip" title={row[column.text]}>{row[column.text]}</span>;
    case "archived":
    case "published":
      return row[column.text] ? "yes" : "";
    default:
      return <Recorded cell={cellOf(row, column)} column={column} base={base && base.id !== row.id ? cellOf(base, column) : undefined} />;
  }
});

/** Whether a run can be repeated, and what it lacks: a sign, words and a colour. */
function Completeness({ missing }: { missing: string[] }) {
  if (!missing.length)
    return (
      <span className={styles.complete} title="seed, commit and data version are recorded">
        <Icon name="check" size={14} />
        <span className="hidden">yes</span>
      </span>
    );
  return (
    <span className={`${styles.lacks} clip`} title={`Not recorded: ${missing.join(", ")}`}>
      <Icon name="warning" size={14} />
      <span className="clip">no {missing.join(", ")}</span>
    </span>
  );
}

function Recorded({ cell, column, base }: { cell: Cell; column: Column; base: Cell | undefined }) {
  if (cell === null || cell === undefined)
    return <span className="quiet">{base === undefined || base === null ? "–" : <span title={`in the baseline: ${shown(base)}`}>–</span>}</span>;
  if (typeof cell === "number") {
    const said = column.kind === "metric" ? number(cell) : shown(cell);
    return (
      <>
        <span className="tabular" title={said === String(cell) ? undefined : String(cell)}>
          {said}
        </span>
        {typeof base === "number" && base !== cell && <Difference by={cell - base} metric={column.kind === "metric" ? column.label : ""} />}
      </>
    );
  }
  const said = shown(cell);
  return (
    <span className={`clip ${base !== undefined && base !== cell ? styles.differs : ""}`} title={base !== undefined && base !== cell ? `${said} (baseline: ${shown(base)})` : said}>
      {said}
    </span>
  );
}

/** How far from the baseline: better and worse differ by sign, arrow and colour. */
function Difference({ by, metric }: { by: number; metric: string }) {
  const lower = metric ? lowerIsBetter(metric) : null;
  const good = lower === null ? null : lower === by < 0;
  return (
    <span className={`${styles.delta} ${good === null ? "" : good ? styles.better : styles.worse}`} title={good === null ? "from the baseline" : good ? "better than the baseline" : "worse than the baseline"}>
      {signed(by, 3)}
      {good !== null && <span aria-hidden="true">{good ? " ▲" : " ▼"}</span>}
    </span>
  );
}

// -- groups ------------------------------------------------------------------------------------------------------------

export function GroupCell({ group, column, place, base }: { group: Group; column: Column; place: number; base: Row | null }): ReactNode {
  const cell = place < 0 ? undefined : group.cells?.[place];
  if (column.text === "created") return <Time at={group.newest} tooltip={false} />;
  if (!cell) return null;
  if (column.kind === "metric") return <Mean cell={cell} column={column} base={base ? cellOf(base, column) : null} />;
  if (!cell.count) return <span className="quiet">–</span>;
  return cell.values === 1 ? (
    <span className="clip">{shown(cell.only)}</span>
  ) : (
    <span className="quiet">{cell.values} values</span>
  );
}

/** A mean with half of its interval, how many values it is over, and what could not be averaged. */
function Mean({ cell, column, base }: { cell: Spread; column: Column; base: Cell }) {
  if (cell.mean === null || cell.mean === undefined)
    return cell.left_out ? <span className={styles.lacks}>{cell.left_out} not finite</span> : <span className="quiet">–</span>;
  const half = cell.high === null || cell.high === undefined ? null : cell.high - cell.mean;
  const told = [
    `mean of ${cell.count} ${cell.count === 1 ? "run" : "runs"}`,
    half === null ? "one value has no interval" : `95 % interval ${number(cell.low)} to ${number(cell.high)} (Student's t)`,
    `${number(cell.min)} to ${number(cell.max)}`,
    ...(cell.left_out ? [`${cell.left_out} left out: not finite`] : []),
  ].join("; ");
  return (
    <span className={styles.mean} title={told}>
      <span className="tabular">{number(cell.mean)}</span>
      {half !== null && <span className={`${styles.half} tabular`}>± {number(half, 2)}</span>}
      <span className={`${styles.n} tabular`}>n {cell.count}</span>
      {cell.left_out > 0 && <Icon name="warning" size={12} className={styles.warned} />}
      {typeof base === "number" && <Difference by={cell.mean - base} metric={column.label} />}
    </span>
  );
}
