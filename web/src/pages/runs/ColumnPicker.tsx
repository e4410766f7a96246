// Which columns: those shown, in order, and all that could be.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { api } from "@/api/client";
import { Button, Checkbox, Dialog, IconButton, SearchBox, SkeletonLines } from "@/ui";

import { COMPLETE } from "./columns";
import { parseParts } from "./names";
import styles from "./runs.module.css";

export function ColumnPicker({ open, project, columns, onChange, onReset, onClose }: {
  open: boolean; project: string; columns: string[]; onChange: (columns: string[]) => void; onReset: () => void; onClose: () => void;
}) {
  const [text, setText] = useState("");
  const names = useQuery({
    queryKey: ["run-names", project, "all", text],
    queryFn: ({ signal }) => api.get("/v1/runs/names", { query: { project, text, limit: 300 }, signal }),
    enabled: open,
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });
  const move = (place: number, by: number) => {
    const next = [...columns];
    const [one] = next.splice(place, 1);
    next.splice(place + by, 0, one!);
    onChange(next);
  };
  const toggle = (name: string) => onChange(columns.includes(name) ? columns.filter((one) => one !== name) : [...columns, name]);
  const known = (names.data?.names ?? []).filter((one) => one.text !== "name");
  const parts = [
    { title: "Metrics", of: known.filter((one) => one.kind === "metric") },
    { title: "Parameters", of: known.filter((one) => one.kind === "param") },
    { title: "About the run", of: known.filter((one) => one.kind === "field") },
  ];
  return (
    <Dialog
      open={open} onClose={onClose} title="Columns" size="wide"
      actions={
        <>
          <Button onClick={onReset}>Let Larder choose</Button>
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        </>
      }
    >
      <div className={styles.picker}>
        <section>
          <h3>Shown, in this order</h3>
          <ol className={styles.pickerList}>
            {columns.map((name, place) => (
              <li key={name} className={styles.pickerShown}>
                <span className="clip" title={name}>
                  {title(name)}
                </span>
                <IconButton icon="chevronUp" size="small" label={`Move ${title(name)} up`} tooltip={false} disabled={place === 0} onClick={() => move(place, -1)} />
                <IconButton
                  icon="chevronDown" size="small" label={`Move ${title(name)} down`} tooltip={false} disabled={place === columns.length - 1}
                  onClick={() => move(place, 1)}
                />
                <IconButton icon="close" size="small" label={`Hide ${title(name)}`} tooltip={false} onClick={() => toggle(name)} />
              </li>
            ))}
            {!columns.length && <li className="quiet small">The name only</li>}
          </ol>
        </section>
        <section>
          <h3>All there are</h3>
          <SearchBox label="Find a metric, parameter or field" value={text} onChange={setText} focusKey="" />
          <div className={styles.pickerAll}>
            {names.isPending && <SkeletonLines lines={8} />}
            {parts.map(
              ({ title: heading, of }) =>
                of.length > 0 && (
                  <fieldset key={heading} className={styles.facet}>
                    <legend>{heading}</legend>
                    {of.map((one) => (
                      <Checkbox key={one.text} label={one.name} checked={columns.includes(one.text)} onChange={() => toggle(one.text)} />
                    ))}
                    {heading === "About the run" && !text && (
                      <Checkbox label="repeatable: seed, commit and data version are known" checked={columns.includes(COMPLETE)} onChange={() => toggle(COMPLETE)} />
                    )}
                  </fieldset>
                ),
            )}
            {names.data && !known.length && <p className="quiet small">Nothing is called so.</p>}
          </div>
        </section>
      </div>
    </Dialog>
  );
}

/** A column's heading: the name, and which statistic of a metric it is. */
export function title(text: string): string {
  if (text === COMPLETE) return "repeatable";
  const parts = parseParts(text);
  return parts.statistic && parts.statistic !== "last" ? `${parts.label} (${parts.statistic})` : parts.label;
}
