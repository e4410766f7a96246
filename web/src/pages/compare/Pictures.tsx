// The images of the runs, side by side at one step.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { address, api } from "@/api/client";
import { Empty, ProblemBanner, Select, SkeletonLines } from "@/ui";

import styles from "./compare.module.css";
import { labels, type Comparison, type State } from "./data";
import { Swatch } from "./RunTable";

export function Pictures({ comparison, state, colours }: { comparison: Comparison; state: State; colours: Map<string, number> }) {
  const { ids, change } = state;
  const query = useQuery({
    queryKey: ["compare", "pictures", ids],
    queryFn: ({ signal }) => api.get("/v1/compare/pictures", { query: { runs: ids }, signal }),
  });
  const [dragged, setDragged] = useState<number | null>(null);
  if (query.error) return <ProblemBanner error={query.error} retry={() => void query.refetch()} />;
  if (!query.data) return <SkeletonLines />;
  const rows = query.data.rows;
  if (!rows.length)
    return (
      <Empty title="No images">
        <p>
          <code>run.log_image("heatmap", picture, step=step)</code> keeps one; here those of all runs stand side by side.
        </p>
      </Empty>
    );
  const names = [...new Set(rows.map((row) => row.name))];
  const name = names.includes(state.search.image ?? "") ? state.search.image! : names[0]!;
  const steps = rows.filter((row) => row.name === name).sort((one, other) => (one.step ?? -1) - (other.step ?? -1));
  const said = state.search.at === undefined ? steps.length - 1 : steps.findIndex((row) => String(row.step) === state.search.at);
  const at = dragged ?? (said < 0 ? steps.length - 1 : said);
  const row = steps[Math.min(at, steps.length - 1)]!;
  const place = new Map(ids.map((id, index) => [id, index]));
  const shown = labels(comparison.runs);
  return (
    <div className={styles.panel}>
      <div className={styles.controls}>
        <label className={styles.control}>
          Image
          <Select value={name} onChange={(event) => change({ image: event.target.value, at: undefined }, { replace: true })}>
            {names.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </Select>
        </label>
        {steps.length > 1 && (
          <label className={styles.control}>
            Step
            <input
              type="range" min={0} max={steps.length - 1} value={at} aria-valuetext={`step ${row.step}`}
              onChange={(event) => {
                setDragged(Number(event.target.value));
                change({ at: String(steps[Number(event.target.value)]!.step) }, { replace: true });
              }}
            />
            <span className="tabular">{row.step}</span>
          </label>
        )}
      </div>
      <div className={styles.pictures}>
        {comparison.runs.map((run) => {
          const picture = row.pictures[place.get(run.id)!];
          return (
            <figure key={run.id} className={styles.picture}>
              <figcaption className="row">
                <Swatch index={colours.get(run.id) ?? 0} />
                <span className="clip">{shown.get(run.id)}</span>
              </figcaption>
              {picture ? (
                <img
                  alt={`${name} of ${shown.get(run.id)}${row.step === null ? "" : ` at step ${row.step}`}`} loading="lazy"
                  src={address("/v1/runs/{run_id}/artifact-file", { params: { run_id: run.id }, query: { name, path: picture.path, version: picture.version, show: true } })}
                />
              ) : (
                <div className={styles.missing}>none at this step</div>
              )}
            </figure>
          );
        })}
      </div>
    </div>
  );
}
