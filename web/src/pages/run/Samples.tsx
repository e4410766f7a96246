// Tables of samples: the worst first, each with its picture or text, its truth and prediction.
import { Empty, Select, SkeletonLines } from "@/ui";

import { usePlace } from "./context";
import { DataTable, tableFile, type Artifact } from "./DataTable";
import { textOf, type Cell } from "./tables";
import styles from "./run.module.css";
import { useArtifacts } from "./RunView";

/** Which table is likely to hold samples: with pictures, or with a name that says so. */
function weight(artifact: Artifact): number {
  let points = 0;
  if (Array.isArray(artifact.metadata.images)) points -= 4;
  if (/sample|predict|eval|example|error|worst/i.test(artifact.name)) points -= 2;
  return points;
}

export default function Samples() {
  const { id, values, change } = usePlace();
  const found = useArtifacts(id);
  if (!found.data) return <SkeletonLines lines={8} />;
  const tables = found.data.artifacts.filter((one) => one.kind === "table" && tableFile(one));
  const newest = [...new Map(tables.map((one) => [one.name, one])).values()].sort((a, b) => weight(a) - weight(b) || a.name.localeCompare(b.name));
  const chosen = newest.find((one) => one.name === values.table) ?? newest[0];
  if (!chosen)
    return (
      <Empty title="No table of samples">
        <p>
          Log one row a sample, images among its cells: <code>run.log_table("samples", rows)</code>
        </p>
      </Empty>
    );
  const versions = tables.filter((one) => one.name === chosen.name);
  const shown = versions.find((one) => String(one.version) === values.version) ?? versions[versions.length - 1]!;
  const about = ["dataset", "dataset_version", "split", "version", "data"].filter((name) => shown.metadata[name] !== undefined);
  return (
    <div className={styles.section}>
      <div className={styles.tools}>
        {newest.length > 1 && (
          <Select aria-label="Table" value={chosen.name} onChange={(event) => change({ table: event.target.value, version: undefined, by: undefined, desc: undefined, row: undefined })}>
            {newest.map((one) => (
              <option key={one.name}>{one.name}</option>
            ))}
          </Select>
        )}
        {versions.length > 1 && (
          <Select aria-label="Version" value={String(shown.version)} onChange={(event) => change({ version: event.target.value })}>
            {versions.map((one) => (
              <option key={one.version} value={one.version}>
                {one.step != null ? `step ${one.step.toLocaleString("en")}` : `version ${one.version}`}
              </option>
            ))}
          </Select>
        )}
        {newest.length === 1 && <h2>{shown.name}</h2>}
        {about.map((name) => (
          <span key={name} className={styles.chip}>
            {name} {textOf(shown.metadata[name] as unknown as Cell)}
          </span>
        ))}
      </div>
      <DataTable key={`${shown.name} ${shown.version}`} artifact={shown} path={tableFile(shown)!.path} worstFirst />
    </div>
  );
}
