// Home: every project at a glance; on an empty server, how the first run comes here, and then that run.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { api, Problem } from "@/api/client";
import { plural } from "@/format";
import { useAddress } from "@/nav";
import { useTitle } from "@/shell/title";
import { Button, ProblemBanner, SearchBox, Skeleton } from "@/ui";

import { FirstRun } from "./FirstRun";
import styles from "./home.module.css";
import { Arrived } from "./Arrived";
import { ProjectCard } from "./ProjectCard";

const PART = 48;

export default function Home() {
  useTitle("");
  const [search, change] = useAddress();
  const text = search.text ?? "";
  const limit = Math.min(200, Math.max(PART, Number(search.n) || PART));
  const { data, error, refetch, isPlaceholderData } = useQuery({
    queryKey: ["home", text, limit],
    queryFn: ({ signal }) => api.get("/v1/overview", { query: { text, limit }, signal }),
    placeholderData: keepPreviousData,
  });
  const waited = useRef(false);
  const [arrived, setArrived] = useState(false);
  const empty = data !== undefined && !text && !data.projects.some((project) => project.runs > 0);
  useEffect(() => {
    if (empty) waited.current = true;
    else if (data && waited.current && !text) setArrived(true);
  }, [empty, data, text]);

  if (error instanceof Problem && (error.code === "unauthenticated" || error.code === "denied")) throw error;
  if (error && !data) return <ProblemBanner error={error} retry={() => void refetch()} />;
  if (empty && data.total === 0) return <FirstRun />;
  return (
    <div className="stack">
      <div className="row">
        <h1>Projects</h1>
        {data && data.total > 0 && <span className="quiet small">{plural(data.total, "project")}</span>}
        {(text || (data && data.total > 6)) && (
          <span className={`push ${styles.search}`}>
            <SearchBox value={text} onChange={(next) => change({ text: next, n: undefined }, { replace: true })} label="Find a project" focusKey="/" />
          </span>
        )}
      </div>
      {arrived && <Arrived />}
      {data ? (
        data.projects.length ? (
          <ul className={styles.cards} aria-label="Projects" aria-busy={isPlaceholderData}>
            {data.projects.map((project) => (
              <ProjectCard key={project.name} project={project} />
            ))}
          </ul>
        ) : (
          <p className="quiet">No project’s name holds “{text}”.</p>
        )
      ) : (
        <Loading />
      )}
      {data && data.total > data.projects.length && limit < 200 && (
        <div>
          <Button onClick={() => change({ n: String(Math.min(200, limit + PART)) }, { replace: true })}>Show more</Button>
        </div>
      )}
      {empty && data.total > 0 && <FirstRun />}
    </div>
  );
}

function Loading() {
  return (
    <div className={styles.cards} role="status" aria-label="Loading">
      {Array.from({ length: 6 }, (_, index) => (
        <div key={index} className={styles.card}>
          <Skeleton width="50%" height="1.2rem" />
          <Skeleton width="70%" />
          <Skeleton width="100%" height="3rem" />
        </div>
      ))}
    </div>
  );
}
