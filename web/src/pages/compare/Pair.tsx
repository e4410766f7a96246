// Two of the runs: why one came out differently, and how their code and their consoles differ.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";

import { api } from "@/api/client";
import { plural } from "@/format";
import { Banner, Checkbox, IconButton, ProblemBanner, Select, SkeletonLines } from "@/ui";
import { Diff } from "@/ui/Diff";

import styles from "./compare.module.css";
import { labels, type Comparison, type State } from "./data";

interface Props {
  comparison: Comparison;
  state: State;
}

function PairChoice({ comparison, state, children }: Props & { children?: ReactNode }) {
  const { a, b, change } = state;
  const names = labels(comparison.runs);
  const choice = (which: "a" | "b", label: string, chosen: string) => (
    <label className={styles.control}>
      {label}
      <Select value={chosen} onChange={(event) => change({ a, b, [which]: event.target.value, ...(event.target.value === (which === "a" ? b : a) ? { [which === "a" ? "b" : "a"]: chosen } : {}) }, { replace: true })}>
        {comparison.runs.map((run) => (
          <option key={run.id} value={run.id}>
            {names.get(run.id)}
          </option>
        ))}
      </Select>
    </label>
  );
  return (
    <div className={styles.controls}>
      {choice("a", "From", a)}
      <IconButton icon="compare" label="Exchange the two" onClick={() => change({ a: b, b: a }, { replace: true })} />
      {choice("b", "to", b)}
      {children}
    </div>
  );
}

export function Why({ comparison, state }: Props) {
  const { a, b, change } = state;
  const metric = state.search.about ?? "";
  const names = comparison.metrics.map((row) => row.name);
  const query = useQuery({
    queryKey: ["compare", "why", a, b, metric],
    queryFn: ({ signal }) => api.get("/v1/compare/explain", { query: { a, b, metric }, signal }),
    placeholderData: keepPreviousData,
  });
  return (
    <div className={styles.panel}>
      <PairChoice comparison={comparison} state={state}>
        <label className={styles.control}>
          about
          <Select value={metric || comparison.main} onChange={(event) => change({ about: event.target.value }, { replace: true })}>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </Select>
        </label>
      </PairChoice>
      {query.error && <ProblemBanner error={query.error} retry={() => void query.refetch()} />}
      {!query.data && !query.error && <SkeletonLines />}
      {query.data && (
        <>
          <p className={styles.lead}>{query.data.sentence}</p>
          {query.data.differences.length > 0 && (
            <ol className={styles.reasons} aria-label="Differences, the most likely reason first">
              {query.data.differences.map((one) => (
                <li key={`${one.kind} ${one.name}`} className={styles.reason}>
                  <div>
                    <div className={styles.kind}>{one.kind}</div>
                    <div className={styles.bar} role="img" aria-label={`weight ${Math.round(one.score * 100)} of 100`}>
                      <span style={{ width: `${Math.round(one.score * 100)}%` }} />
                    </div>
                  </div>
                  <div>
                    <div>{one.sentence}</div>
                    {one.evidence && <div className="quiet small">{one.evidence}</div>}
                    {one.diff && (
                      <details className={styles.file}>
                        <summary className="small">Show the lines</summary>
                        <Diff text={one.diff} label={`Difference of ${one.name}`} />
                      </details>
                    )}
                  </div>
                </li>
              ))}
            </ol>
          )}
          <p className="quiet small">Ranked by what differences of each kind usually do and, for parameters, by the earlier runs of the project. It points where to look first; it proves nothing.</p>
        </>
      )}
    </div>
  );
}

export function Code({ comparison, state }: Props) {
  const { a, b } = state;
  const query = useQuery({
    queryKey: ["code", "diff", a, b],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/code-diff", { params: { run_id: b }, query: { against: a }, signal }),
    placeholderData: keepPreviousData,
  });
  const files = query.data?.files ?? [];
  return (
    <div className={styles.panel}>
      <PairChoice comparison={comparison} state={state}>
        {query.data?.link && (
          <a href={query.data.link} target="_blank" rel="noopener noreferrer">
            The commits at the remote
          </a>
        )}
      </PairChoice>
      {query.error && <ProblemBanner error={query.error} retry={() => void query.refetch()} />}
      {!query.data && !query.error && <SkeletonLines />}
      {query.data?.note && <Banner>{query.data.note}</Banner>}
      {query.data && !files.length && !query.data.note && <p className="quiet">{query.data.whole ? "Their code is the same." : "No difference is known here."}</p>}
      {files.map((file, index) => (
        <details key={file.path} className={styles.file} open={index < 10}>
          <summary>
            <strong className="mono">{file.path}</strong>{" "}
            <span className="quiet small">
              {file.change}
              {file.diff ? ` · +${file.added} −${file.removed}` : " · no text"}
              {file.of_changes ? " · of what each changed by hand" : ""}
            </span>
          </summary>
          {file.diff && <Diff text={file.diff} label={`Difference of ${file.path}`} />}
        </details>
      ))}
    </div>
  );
}

export function Console({ comparison, state }: Props) {
  const { a, b, change } = state;
  const numbers = state.search.numbers === "1";
  const query = useQuery({
    queryKey: ["compare", "console", a, b, numbers],
    queryFn: ({ signal }) => api.get("/v1/compare/console", { query: { a, b, numbers }, signal }),
    placeholderData: keepPreviousData,
  });
  const found = query.data;
  return (
    <div className={styles.panel}>
      <PairChoice comparison={comparison} state={state}>
        <Checkbox label="numbers count" checked={numbers} onChange={(event) => change({ numbers: event.target.checked ? "1" : undefined }, { replace: true })} />
      </PairChoice>
      {query.error && <ProblemBanner error={query.error} retry={() => void query.refetch()} />}
      {!found && !query.error && <SkeletonLines />}
      {found && (
        <>
          <p className="quiet small">
            {plural(found.lines_a, "line")} beside {plural(found.lines_b, "line")}
            {found.cut ? ", the last ones of each" : ""}: {found.added} only in the second, {found.removed} only in the first.
          </p>
          {found.diff ? <Diff text={found.diff} label="Difference of the consoles" /> : <p className="quiet">{found.lines_a + found.lines_b ? "Their consoles say the same." : "Neither printed anything."}</p>}
        </>
      )}
    </div>
  );
}
