// The first look: what differs, what came out, and the curves.
import { plural } from "@/format";
import { Checkbox, Segments } from "@/ui";

import { Curves } from "./Curves";
import styles from "./compare.module.css";
import { STATISTICS, type Comparison, type State, type Statistic } from "./data";
import { ParamRow, RunTable, SummaryRow } from "./RunTable";

const FIRST = 30;

export function Differences({ comparison, state, colours }: { comparison: Comparison; state: State; colours: Map<string, number> }) {
  const { all, system, change } = state;
  const params = comparison.params.filter((row) => all || row.differs);
  const same = comparison.params.length - comparison.params.filter((row) => row.differs).length;
  const more = state.search.more === "1";
  const metrics = more ? comparison.metrics : comparison.metrics.slice(0, FIRST);
  return (
    <div className={styles.panel}>
      <RunTable
        comparison={comparison} state={state} colours={colours} label="Differences and results"
        sections={[
          {
            id: "params",
            title: (
              <>
                {all ? "Parameters" : "Parameters that differ"}
                {same > 0 && <Checkbox label={`and ${same} that are the same`} checked={all} onChange={(event) => change({ all: event.target.checked ? "1" : undefined }, { replace: true })} />}
              </>
            ),
            rows: params.map((row) => <ParamRow key={row.name} row={row} />),
            empty: comparison.params.length ? "Their parameters are the same." : "No parameters were recorded.",
          },
          {
            id: "metrics",
            title: (
              <>
                Metrics
                <Segments<Statistic | "best">
                  label="Value" value={state.statistic || "best"} onChange={(stat) => change({ stat: stat === "best" ? undefined : stat }, { replace: true })}
                  options={[{ id: "best", label: "best" }, ...STATISTICS.map((id) => ({ id, label: id }))]}
                />
                <Checkbox label="load of the machine" checked={system} onChange={(event) => change({ system: event.target.checked ? "1" : undefined }, { replace: true })} />
                {comparison.metrics.length > FIRST && (
                  <Checkbox label={`all ${plural(comparison.metrics.length, "metric")}`} checked={more} onChange={(event) => change({ more: event.target.checked ? "1" : undefined }, { replace: true })} />
                )}
              </>
            ),
            rows: metrics.map((row) => <SummaryRow key={row.name} row={row} state={state} />),
            empty: "No metrics were logged.",
          },
        ]}
      />
      <Curves comparison={comparison} state={state} colours={colours} />
    </div>
  );
}
