// What a share opens, for people without a login: the headline in words, the chart, what changed.
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useMemo } from "react";

import { Problem } from "@/api/client";
import { number, plural, value } from "@/format";
import { useTitle } from "@/shell/title";
import { Banner, buttonClass, Duration, Empty, PageSkeleton, ProblemBanner, seriesColour, seriesDash, StatusBadge, Time } from "@/ui";
import { Chart, type ChartSeries } from "@/ui/Chart";

import { day } from "./data";
import { sharedQuery, type Shared } from "./opening";
import styles from "./share.module.css";

export default function SharePage() {
  const { token = "" } = useParams({ strict: false }) as { token?: string };
  const shared = useQuery(sharedQuery(token));
  useTitle(shared.data?.title || shared.data?.headline || "Shared");
  if (shared.data) return <Page shared={shared.data} />;
  if (!shared.error) return <PageSkeleton />;
  const problem = shared.error;
  if (!(problem instanceof Problem) || ![401, 404].includes(problem.status)) return <ProblemBanner error={problem} retry={() => void shared.refetch()} />;
  return (
    <Empty title="This address does not open" level={1}>
      <p>
        {sentence(problem.message)} {sentence(problem.hint)}
      </p>
      {problem.status === 401 && (
        <a className={buttonClass()} href={`/sign-in?next=${encodeURIComponent(location.pathname)}`}>
          Sign in
        </a>
      )}
    </Empty>
  );
}

function sentence(text: string): string {
  return text ? `${text[0]!.toUpperCase()}${text.slice(1)}.` : "";
}

function Page({ shared }: { shared: Shared }) {
  const { runs, metric, kind } = shared;
  const projects = [...new Set(runs.map((run) => run.project))];
  const series = useMemo<ChartSeries[]>(
    () =>
      shared.curves.flatMap((curve, index) =>
        curve
          ? [{ id: String(index), label: shared.runs[index]!.name, x: curve.steps, y: curve.values, colour: seriesColour(index), dash: seriesDash(index) }]
          : [],
      ),
    [shared.curves, shared.runs],
  );
  const first = runs[0];
  return (
    <article className={styles.page}>
      <header>
        <p className={styles.kicker}>{[shared.title, projects.slice(0, 3).join(", ")].filter(Boolean).join(" · ")}</p>
        <h1 className={styles.headline}>{shared.headline}</h1>
        {kind === "run" && first && (
          <p className="row quiet small">
            <StatusBadge status={first.status} /> by {first.user} · <Time at={first.started ?? first.created} /> · <Duration started={first.started} ended={first.ended} />
          </p>
        )}
      </header>
      {shared.warnings.map((warning) => (
        <Banner key={warning} kind="warn">
          {warning}
        </Banner>
      ))}
      {series.length > 0 && (
        <section className={styles.section} aria-label={`Chart of ${metric}`}>
          <h2>
            {metric} <span className="quiet small">{shared.lower_is_better === true ? "lower is better" : shared.lower_is_better === false ? "higher is better" : ""}</span>
          </h2>
          <Chart label={`${metric} by step`} series={series} height={260} legend={kind === "run" && series.length > 1} />
        </section>
      )}
      {kind !== "run" && runs.length > 0 && <Ranking shared={shared} />}
      {shared.changed.length > 0 && <Changed shared={shared} />}
      {kind === "run" && first?.notes && (
        <section className={styles.section}>
          <h2>Notes</h2>
          <p className={styles.notes}>{first.notes}</p>
        </section>
      )}
      <footer className={styles.foot}>
        Shared by {shared.user} <Time at={shared.created} /> · read only · this address opens until {day(shared.expires)}
      </footer>
    </article>
  );
}

function Ranking({ shared }: { shared: Shared }) {
  const { runs, metric, best, total } = shared;
  return (
    <section className={styles.section}>
      <h2>{total > runs.length ? `The first ${runs.length} of ${plural(total, "run")}` : "Runs"}</h2>
      <div className={styles.scroll} tabIndex={0} role="region" aria-label="Runs">
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">Run</th>
              <th scope="col">{metric || "Value"}</th>
              <th scope="col">Status</th>
            </tr>
          </thead>
          <tbody>
            {runs.map((run, index) => (
              <tr key={index}>
                <th scope="row">
                  {shared.curves[index] && <span className={styles.swatch} style={{ borderTopColor: seriesColour(index), borderTopStyle: seriesDash(index).length ? "dashed" : "solid" }} />}
                  {run.name}
                </th>
                <td className={index === best ? styles.best : undefined}>
                  {run.value === null ? "–" : number(run.value)}
                  {index === best && " ★"}
                  {index === best && <span className="hidden"> best</span>}
                </td>
                <td>
                  <StatusBadge status={run.status} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Changed({ shared }: { shared: Shared }) {
  const pair = shared.kind === "run" && shared.runs.length === 2;
  const order = pair ? [1, 0] : shared.runs.map((_, index) => index);
  return (
    <section className={styles.section}>
      <h2>{pair ? "What changed" : "What differs"}</h2>
      <div className={styles.scroll} tabIndex={0} role="region" aria-label={pair ? "What changed" : "What differs"}>
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">Parameter</th>
              {order.map((index) => (
                <th key={index} scope="col">
                  {shared.runs[index]!.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shared.changed.map((row) => (
              <tr key={row.name}>
                <th scope="row">{row.name}</th>
                {order.map((index) => (
                  <td key={index} className={pair && index === 0 ? styles.best : undefined}>
                    {row.absent?.includes(index) ? "–" : value(row.values[index])}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
