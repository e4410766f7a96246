// Rows of names with a value for each run; the names and the runs stay in sight while the rest is scrolled.
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";

import { value } from "@/format";
import { Checkbox, IconButton, Num, seriesColour, seriesDash, StatusBadge } from "@/ui";

import styles from "./compare.module.css";
import { labels, statisticOf, usual, type Comparison, type MetricRow, type Row, type Run, type State } from "./data";

export interface Section {
  id: string;
  title: ReactNode;
  rows: ReactNode[];
  empty?: string;
}

export function RunTable({ comparison, state, colours, sections, label }: { comparison: Comparison; state: State; colours: Map<string, number>; sections: Section[]; label: string }) {
  const { runs } = comparison;
  const names = labels(runs);
  return (
    <div className={styles.frame} tabIndex={0} role="region" aria-label={label}>
      <table className={styles.table}>
        <thead>
          <tr>
            <td className={styles.corner} />
            {runs.map((run) => (
              <th key={run.id} scope="col" className={styles.head}>
                <Head run={run} name={names.get(run.id)!} state={state} colour={colours.get(run.id) ?? 0} />
              </th>
            ))}
          </tr>
        </thead>
        {sections.map((section) => (
          <tbody key={section.id}>
            <tr className={styles.group}>
              <th scope="colgroup" colSpan={runs.length + 1}>
                <div>{section.title}</div>
              </th>
            </tr>
            {section.rows}
            {!section.rows.length && section.empty && (
              <tr>
                <td colSpan={runs.length + 1} className={styles.none}>
                  <div>{section.empty}</div>
                </td>
              </tr>
            )}
          </tbody>
        ))}
      </table>
    </div>
  );
}

export function Swatch({ index }: { index: number }) {
  return <span className={styles.swatch} style={{ borderTopColor: seriesColour(index), borderTopStyle: seriesDash(index).length ? "dashed" : "solid" }} />;
}

function Head({ run, name, state, colour }: { run: Run; name: string; state: State; colour: number }) {
  const { ids, picked, change, base } = state;
  const chosen = picked.includes(run.id);
  return (
    <div className={styles.headInside}>
      <span className={styles.headLine}>
        <Checkbox
          aria-label={`Choose ${name}`} checked={chosen}
          onChange={() => change({ picked: (chosen ? picked.filter((id) => id !== run.id) : [...picked, run.id]).join(",") }, { replace: true })}
        />
        <Swatch index={colour} />
        {ids.length > 2 && (
          <span className="push">
            <IconButton icon="close" size="small" label={`Leave out ${name}`} title="Leave out" tooltip={false} onClick={() => change({ runs: ids.filter((id) => id !== run.id).join(",") })} />
          </span>
        )}
      </span>
      <Link to="/runs/$run/{-$tab}" params={{ run: run.id }} className={styles.runName} title={`${run.name} · ${run.id}`}>
        {name}
      </Link>
      <span className={styles.headLine}>
        <StatusBadge status={run.status} reason={run.reason} />
        {run.id === base && <span className={styles.base}>baseline</span>}
      </span>
    </div>
  );
}

export function ParamRow({ row, head }: { row: Row; head?: ReactNode }) {
  return (
    <tr>
      <th scope="row" title={row.name}>
        {head ?? row.name}
      </th>
      {row.values.map((cell, index) => {
        const text = row.absent?.includes(index) ? "" : value(cell);
        return (
          <td key={index} title={text.length > 18 ? text : undefined}>
            {text === "" && row.absent?.includes(index) ? (
              <span className="quiet">
                –<span className="hidden"> none</span>
              </span>
            ) : (
              <span className={styles.cell}>{text === "" ? "“”" : text}</span>
            )}
          </td>
        );
      })}
    </tr>
  );
}

export function SummaryRow({ row, state }: { row: MetricRow; state: State }) {
  const { order, change } = state;
  const statistic = state.statistic || usual(row);
  const best = row.best?.[statistic];
  const on = order === row.name;
  return (
    <tr>
      <th scope="row">
        <button type="button" className={styles.sorter} aria-pressed={on} title={on ? "In the order of the address" : `Order the runs by ${row.name}`} onClick={() => change({ order: on ? undefined : row.name }, { replace: true })}>
          {row.name}
          {!state.statistic && statistic !== "last" && <span className="quiet small"> {statistic}</span>}
          {on && <span aria-hidden="true"> →</span>}
        </button>
      </th>
      {row.summaries.map((summary, index) => (
        <td key={index} className={index === best ? styles.best : undefined}>
          {summary ? <Num value={statisticOf(summary, statistic) ?? summary[statistic]} /> : <span className="quiet">–</span>}
          {index === best && (
            <>
              <span aria-hidden="true"> ★</span>
              <span className="hidden"> best</span>
            </>
          )}
        </td>
      ))}
    </tr>
  );
}
