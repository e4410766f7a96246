// Values with their counts beside the table; a click is a condition more, or one less.
import { keepPreviousData, useQueries, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { api, type Schemas } from "@/api/client";
import { count, number, value as shown } from "@/format";
import { Button, Icon, SkeletonLines } from "@/ui";

import { chosen, toggled, without } from "./conditions";
import { parseParts } from "./names";
import styles from "./runs.module.css";

const FEW = 8;
const MOST = 200;

export function Facets({ project, where, text, archived, onChange, onClose }: {
  project: string; where: string; text: string; archived: boolean; onChange: (where: string) => void; onClose: () => void;
}) {
  const [opened, setOpened] = useState<Set<string>>(() => new Set());
  const names = useQuery({
    queryKey: ["run-names", project, "param"],
    queryFn: ({ signal }) => api.get("/v1/runs/names", { query: { project, kind: "param", limit: 60 }, signal }),
    staleTime: 60_000,
  });
  const fields = ["status", "user", ...(project ? [] : ["project"]), "tags", "kind"];
  const params = (names.data?.names ?? []).filter((one) => (one.values ?? 0) > 1).map((one) => one.text);
  const picked = [...fields, ...params].filter((of) => chosen(where, of).length > 0);
  const shownParams = params.filter((of) => opened.has(of) || picked.includes(of));
  const plain = [...fields, ...shownParams].filter((of) => !picked.includes(of));
  // the counts of a facet are over all that the other facets leave, so that its other values can still be chosen
  const questions = [
    ...(plain.length ? [{ of: plain, where }] : []),
    ...picked.map((of) => ({ of: [of], where: without(where, of) })),
  ];
  const answers = useQueries({
    queries: questions.map((question) => ({
      queryKey: ["run-facets", project, text, archived, question],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        api.get("/v1/runs/facets", { query: { project, text, archived, where: question.where, of: question.of.join(","), limit: MOST }, signal }),
      placeholderData: keepPreviousData,
      staleTime: 10_000,
    })),
  });
  const found = new Map<string, Schemas["Facet"]>();
  for (const answer of answers) for (const facet of answer.data?.facets ?? []) found.set(facet.of, facet);

  return (
    <aside className={styles.facets} aria-label="Narrow down">
      <div className={styles.facetsHead}>
        <h2>Narrow down</h2>
        <Button kind="quiet" size="small" className="push" onClick={onClose}>
          Hide
        </Button>
      </div>
      {fields.map((of) => (
        <FacetList key={of} of={of} facet={found.get(of)} where={where} onChange={onChange} />
      ))}
      {params.length > 0 && <h3 className={styles.facetsPart}>Parameters that differ</h3>}
      {params.map((of) => {
        const open = shownParams.includes(of);
        return (
          <section key={of}>
            <button
              type="button" className={styles.facetToggle} aria-expanded={open}
              onClick={() =>
                setOpened((now) => {
                  const next = new Set(now);
                  if (!next.delete(of)) next.add(of);
                  return next;
                })
              }
            >
              <Icon name={open ? "chevronDown" : "chevronRight"} size={14} />
              <span className="clip">{parseParts(of).label}</span>
            </button>
            {open && <FacetList of={of} facet={found.get(of)} where={where} onChange={onChange} headless />}
          </section>
        );
      })}
    </aside>
  );
}

function FacetList({ of, facet, where, onChange, headless = false }: {
  of: string; facet: Schemas["Facet"] | undefined; where: string; onChange: (where: string) => void; headless?: boolean;
}) {
  const [all, setAll] = useState(false);
  const selected = chosen(where, of);
  if (facet && facet.top.length === 0 && !selected.length) return null;
  if (facet && facet.top.length === 1 && !selected.length && !headless && of !== "tags") return null;
  const label = parseParts(of).label;
  const values = facet ? (all ? facet.top : facet.top.slice(0, FEW)) : [];
  return (
    <fieldset className={styles.facet}>
      <legend className={headless ? "hidden" : undefined}>{label}</legend>
      {!facet && <SkeletonLines lines={2} />}
      {facet && facet.low !== null && facet.low !== undefined && facet.values > FEW && (
        <p className={styles.facetRange}>
          {number(facet.low, 4)} to {number(facet.high, 4)}
        </p>
      )}
      {values.map((one) => (
        <label key={one.where} className={styles.facetValue}>
          <input type="checkbox" checked={selected.includes(one.where)} onChange={() => onChange(toggled(where, of, one.where))} />
          <span className="clip" title={shown(one.value)}>
            {one.value === null || one.value === "" ? <em>none</em> : shown(one.value)}
          </span>
          <span className={styles.facetCount}>{count(one.runs)}</span>
        </label>
      ))}
      {facet && facet.top.length > FEW && (
        <Button kind="quiet" size="small" onClick={() => setAll(!all)}>
          {all ? "Fewer" : `${count(Math.min(facet.values, facet.top.length) - FEW)} more`}
        </Button>
      )}
    </fieldset>
  );
}
