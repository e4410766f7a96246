// Packages, machines, code and environment: only what differs.
import styles from "./compare.module.css";
import type { Comparison, State } from "./data";
import { ParamRow, RunTable } from "./RunTable";

export function Surroundings({ comparison, state, colours }: { comparison: Comparison; state: State; colours: Map<string, number> }) {
  return (
    <div className={styles.panel}>
      <RunTable
        comparison={comparison} state={state} colours={colours} label="Packages and machines"
        sections={[
          { id: "packages", title: "Packages that differ", rows: comparison.packages.map((row) => <ParamRow key={row.name} row={row} />), empty: "Their packages are the same." },
          { id: "facts", title: "Code, machine and environment where they differ", rows: comparison.facts.map((row) => <ParamRow key={row.name} row={row} />), empty: "Nothing recorded of them differs." },
        ]}
      />
    </div>
  );
}
