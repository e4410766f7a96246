// Parameters: what was asked for, beside what the parent, or any other run, had.
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";

import { api } from "@/api/client";
import { value as shown } from "@/format";
import { Checkbox, CopyAs, CopyButton, Empty, ProblemBanner, SearchBox, TagChip } from "@/ui";

import { record, usePlace } from "./context";
import { PickRun } from "./PickRun";
import styles from "./run.module.css";

export default function Params() {
  const { id, run, values, change } = usePlace();
  const against = values.against ?? run.parent ?? "";
  const other = useQuery({
    queryKey: ["run", against],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}", { params: { run_id: against }, signal }),
    enabled: against !== "" && against !== "-",
  });
  const [order, setOrder] = useState<"name" | "changed">("name");
  const before = other.data?.params as Record<string, unknown> | undefined;
  const overrides = record(run.facts.overrides);
  const rows = useMemo(() => {
    const names = [...new Set([...Object.keys(run.params), ...Object.keys(before ?? {})])];
    const all = names.map((name) => {
      const here = run.params[name];
      const there = before?.[name];
      return { name, here, there, changed: before !== undefined && JSON.stringify(here) !== JSON.stringify(there) };
    });
    all.sort((a, b) => (order === "changed" ? Number(b.changed) - Number(a.changed) : 0) || a.name.localeCompare(b.name, undefined, { numeric: true }));
    return all;
  }, [run.params, before, order]);
  const find = (values.find ?? "").toLowerCase();
  const only = values.only === "1" && before !== undefined;
  const visible = rows.filter(
    (row) => (!only || row.changed) && (row.name.toLowerCase().includes(find) || shown(row.here).toLowerCase().includes(find)),
  );
  const differing = rows.filter((row) => row.changed).length;

  if (!rows.length)
    return (
      <Empty title="No parameters">
        <p>
          Arguments of argparse, click and Hydra are recorded by themselves; others with <code>larder.init(params=…)</code> or <code>run.params["lr"] = 0.1</code>.
        </p>
      </Empty>
    );
  return (
    <div className="stack">
      <div className={styles.tools}>
        <SearchBox value={values.find ?? ""} onChange={(text) => change({ find: text }, { replace: true })} label="Find parameters" />
        {before && (
          <Checkbox
            label={`only the ${differing} that differ`} checked={only}
            onChange={(event) => change({ only: event.target.checked ? "1" : undefined }, { replace: true })}
          />
        )}
        <span className="push row">
          {other.data && (
            <TagChip
              tag={`${other.data.id === run.parent ? "parent " : ""}${other.data.name}`}
              onRemove={() => change({ against: "-", only: undefined }, { replace: true })}
            />
          )}
          <PickRun project={run.project} not={[id]} label="Compare with…" onPick={(next) => change({ against: next }, { replace: true })} />
          <CopyAs
            python={`import larder\nlarder.run("${id}").params`}
            cli={`larder runs show ${id}`}
            curl={`curl -H "Authorization: Bearer $LARDER_TOKEN" ${location.origin}/v1/runs/${id}`}
          />
        </span>
      </div>
      {other.error && <ProblemBanner error={other.error} />}
      <div className={styles.scroll}>
        <table className={styles.grid}>
          <thead>
            <tr>
              <th scope="col">
                <button type="button" className={styles.sort} onClick={() => setOrder("name")} aria-pressed={order === "name"}>
                  Parameter
                </button>
              </th>
              <th scope="col">Value</th>
              {other.data && (
                <th scope="col">
                  <Link to="/runs/$run/{-$tab}" params={{ run: other.data.id, tab: "params" }}>
                    {other.data.name}
                  </Link>{" "}
                  <button type="button" className={styles.sort} onClick={() => setOrder("changed")} aria-pressed={order === "changed"}>
                    differing first
                  </button>
                </th>
              )}
              <th scope="col">
                <span className="hidden">Copy</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {visible.map((row) => (
              <tr key={row.name} data-changed={row.changed}>
                <th scope="row" className="mono">
                  {row.name}
                  {row.name in overrides && <span className="quiet small"> changed for this run</span>}
                </th>
                <td className={styles.value}>{row.here === undefined ? <span className="quiet">not there</span> : shown(row.here)}</td>
                {other.data && (
                  <td className={`${styles.value} ${row.changed ? "" : "quiet"}`}>
                    {row.there === undefined ? <span className="quiet">not there</span> : row.changed ? shown(row.there) : "same"}
                  </td>
                )}
                <td>{row.here !== undefined && <CopyButton text={shown(row.here)} what={row.name} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {!visible.length && <p className="quiet">Nothing here fits.</p>}
      </div>
    </div>
  );
}
