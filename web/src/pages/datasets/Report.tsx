// What the checks at the commit said, as they wrote it.
import { value as shown } from "@/format";
import { Code } from "@/ui";

import styles from "./datasets.module.css";
import { record } from "./looks";
import type { PartProps } from "./VersionPage";

export default function Report({ version }: PartProps) {
  const report = record(version.report);
  const plain = Object.entries(report).filter(([, value]) => typeof value !== "object" || value === null);
  const nested = Object.entries(report).filter(([, value]) => typeof value === "object" && value !== null);
  return (
    <div className="stack">
      {plain.length > 0 && (
        <dl className={styles.pairs}>
          {plain.map(([name, value]) => (
            <div key={name} style={{ display: "contents" }}>
              <dt>{name}</dt>
              <dd className={styles.value}>{shown(value)}</dd>
            </div>
          ))}
        </dl>
      )}
      {nested.map(([name, value]) => (
        <section key={name} className={styles.section} aria-label={name}>
          <h2>{name}</h2>
          {rowsOf(value) ? <Rows rows={rowsOf(value)!} name={name} /> : <Code label={name}>{JSON.stringify(value, null, 2)}</Code>}
        </section>
      ))}
    </div>
  );
}

/** A list of documents is a table. */
function rowsOf(value: unknown): Record<string, unknown>[] | null {
  return Array.isArray(value) && value.length > 0 && value.every((one) => Object.keys(record(one)).length > 0) ? (value as Record<string, unknown>[]) : null;
}

function Rows({ rows, name }: { rows: Record<string, unknown>[]; name: string }) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return (
    <div className={styles.scroll} tabIndex={0} role="region" aria-label={`Rows of ${name}`}>
      <table className={styles.grid}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, 500).map((row, index) => (
            <tr key={index}>
              {columns.map((column) => (
                <td key={column} className={styles.wrap}>
                  {shown(row[column])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > 500 && <p className="quiet small">{rows.length - 500} more are not shown.</p>}
    </div>
  );
}
