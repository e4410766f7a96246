import { Link } from "@tanstack/react-router";

import type { Answer } from "@/api/client";
import { count, number, plural } from "@/format";
import { Duration, Icon, Num, StatusBadge, Time } from "@/ui";

import styles from "./home.module.css";
import { Spark } from "./Spark";

type Project = Answer<"/v1/overview", "get">["projects"][number];
type Best = Project["best"][number];

const ORDER = ["running", "queued", "failed", "lost", "completed", "stopped", "draft"];

export function ProjectCard({ project }: { project: Project }) {
  const shown = ORDER.filter((status) => project.counts[status]);
  return (
    <li className={styles.card}>
      <div className={styles.head}>
        <h2 className="clip">
          <Link to="/projects/$project" params={{ project: project.name }} title={project.name}>
            {project.name}
          </Link>
        </h2>
        <span className={`quiet small ${styles.when}`}>
          <Time at={project.active} />
        </span>
      </div>
      {project.description && <p className={`quiet small ${styles.about}`}>{project.description}</p>}
      {project.runs === 0 ? (
        <p className="quiet small">No runs yet</p>
      ) : (
        <ul className={styles.counts} aria-label={`${plural(project.runs, "run")} of ${project.name}`}>
          {shown.map((status) => (
            <li key={status}>
              <Link to="/projects/$project" params={{ project: project.name }} search={{ where: `status:${status}` } as never} className={styles.count}>
                <span className="tabular">{count(project.counts[status]!)}</span> <StatusBadge status={status} />
              </Link>
            </li>
          ))}
        </ul>
      )}
      {project.best.length > 0 && (
        <dl className={styles.best}>
          {project.best.map((best) => (
            <BestValue key={best.metric} best={best} />
          ))}
        </dl>
      )}
      {project.running.length > 0 && (
        <ul className={styles.running} aria-label="Running now">
          {project.running.map((run) => (
            <li key={run.id}>
              <StatusBadge status="running" label={false} />
              <Link to="/runs/$run/{-$tab}" params={{ run: run.id }} className="clip" title={run.name}>
                {run.name}
              </Link>
              <span className="quiet small push tabular">
                <Duration started={run.started} ended={null} />
              </span>
            </li>
          ))}
          {(project.counts.running ?? 0) > project.running.length && (
            <li className="quiet small">and {count(project.counts.running! - project.running.length)} more</li>
          )}
        </ul>
      )}
    </li>
  );
}

function BestValue({ best }: { best: Best }) {
  return (
    <div className={styles.value}>
      <dt className="quiet small clip" title={best.metric}>
        {best.lower ? "Lowest" : "Highest"} {best.metric}
      </dt>
      <dd>
        <span className={styles.figure}>
          <Num value={best.value} digits={4} />
        </span>
        <Link to="/runs/$run/{-$tab}" params={{ run: best.run.id }} className="small clip" title={`${best.run.name} reached it`}>
          <Icon name="star" size={12} /> {best.run.name}
        </Link>
      </dd>
      {best.recent.length > 2 && (
        <dd className={styles.course}>
          <Spark
            values={best.recent} lower={best.lower}
            label={`${best.metric} of the newest ${best.recent.length} runs: from ${number(best.recent[0])} to ${number(best.recent[best.recent.length - 1])}`}
          />
        </dd>
      )}
    </div>
  );
}
