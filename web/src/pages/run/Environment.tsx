// Packages with their exact versions, the interpreter, and how both differ from another run's.
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { api } from "@/api/client";
import { count } from "@/format";
import { Checkbox, CopyButton, Empty, SearchBox, TagChip } from "@/ui";

import { record, text, usePlace } from "./context";
import { PickRun } from "./PickRun";
import styles from "./run.module.css";

export default function Environment() {
  const { id, run, values, change } = usePlace();
  const against = values.against ?? run.parent ?? "";
  const other = useQuery({
    queryKey: ["run", against],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}", { params: { run_id: against }, signal }),
    enabled: against !== "" && against !== "-",
    retry: false,
  });
  const packages = record(run.facts.packages);
  const theirs = other.data ? record(other.data.facts.packages) : null;
  const rows = useMemo(() => {
    const names = [...new Set([...Object.keys(packages), ...Object.keys(theirs ?? {})])].sort((a, b) => Number(b === "python") - Number(a === "python") || a.localeCompare(b));
    return names.map((name) => ({ name, here: text(packages[name]), there: text(theirs?.[name]), changed: theirs !== null && text(packages[name]) !== text(theirs[name]) }));
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [run.facts.packages, other.data?.facts.packages]);
  const find = (values.find ?? "").toLowerCase();
  const differing = rows.filter((row) => row.changed).length;
  const only = values.only === "1" && theirs !== null;
  const shown = rows.filter((row) => row.name.includes(find) && (!only || row.changed));
  const imports = record(run.facts.imports);
  const imported = Array.isArray(imports.packages) ? imports.packages.map(String) : [];
  const environment = record(run.facts.environment);
  const command = record(run.facts.command);
  const sources = record(run.facts.sources);
  const pins = rows.filter((row) => row.here && row.name !== "python" && !row.here.includes(" @ ")).map((row) => `${row.name}==${row.here}`).join("\n");
  if (!rows.length && !Object.keys(sources).length)
    return (
      <Empty title="No packages were recorded">
        <p>A run records its interpreter and every installed package by itself, right after it begins.</p>
      </Empty>
    );
  return (
    <div className="stack">
      <dl className={styles.pairs}>
        {text(packages.python) && (
          <>
            <dt>Python</dt>
            <dd>{text(packages.python)}</dd>
          </>
        )}
        {text(command.executable) && (
          <>
            <dt>Interpreter</dt>
            <dd className="mono">{text(command.executable)}</dd>
          </>
        )}
        {(text(environment.from) || Array.isArray(environment.requirements)) && (
          <>
            <dt>Environment</dt>
            <dd>
              {text(environment.from) || "as recorded"}
              {Array.isArray(environment.requirements) && environment.requirements.length > 0 && <span className="mono"> + {environment.requirements.map(String).join(", ")}</span>}
            </dd>
          </>
        )}
        {imported.length > 0 && (
          <>
            <dt>Imported</dt>
            <dd className={styles.chips}>
              {imported.slice(0, 40).map((name) => (
                <span key={name} className={styles.chip}>
                  {name}
                </span>
              ))}
            </dd>
          </>
        )}
        {Object.keys(sources).length > 0 && (
          <>
            <dt>Recorded by</dt>
            <dd className={styles.chips}>
              {Object.entries(sources).map(([name, state]) => (
                <span key={name} className={styles.chip} title={text(state)}>
                  {name}
                  {text(state) !== "active" && `: ${text(state)}`}
                </span>
              ))}
            </dd>
          </>
        )}
      </dl>
      {rows.length > 0 && (
        <>
          <div className={styles.tools}>
            <SearchBox value={values.find ?? ""} onChange={(next) => change({ find: next }, { replace: true })} label="Find packages" />
            <span className="quiet small tabular">{count(rows.length)} packages</span>
            {theirs && (
              <Checkbox label={`only the ${differing} that differ`} checked={only} onChange={(event) => change({ only: event.target.checked ? "1" : undefined }, { replace: true })} />
            )}
            <span className="push row">
              {other.data && <TagChip tag={`${other.data.id === run.parent ? "parent " : ""}${other.data.name}`} onRemove={() => change({ against: "-", only: undefined }, { replace: true })} />}
              <PickRun project={run.project} not={[id]} label="Compare with…" onPick={(next) => change({ against: next }, { replace: true })} />
              <CopyButton text={pins} label="Copy as requirements.txt" />
            </span>
          </div>
          <div className={styles.scroll}>
            <table className={styles.grid}>
              <thead>
                <tr>
                  <th scope="col">Package</th>
                  <th scope="col">Version</th>
                  {theirs && <th scope="col">{other.data?.name}</th>}
                </tr>
              </thead>
              <tbody>
                {shown.map((row) => (
                  <tr key={row.name} data-changed={row.changed}>
                    <th scope="row" className="mono">
                      {row.name}
                    </th>
                    <td className={styles.value}>{row.here || <span className="quiet">not there</span>}</td>
                    {theirs && <td className={`${styles.value} ${row.changed ? "" : "quiet"}`}>{row.changed ? row.there || "not there" : "same"}</td>}
                  </tr>
                ))}
              </tbody>
            </table>
            {!shown.length && <p className="quiet">Nothing here fits.</p>}
          </div>
        </>
      )}
    </div>
  );
}
