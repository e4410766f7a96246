// Data: every dataset with its newest version; one dataset; one version of it.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useRef } from "react";

import { api, Problem } from "@/api/client";
import { bytes, count, plural } from "@/format";
import { useKeys } from "@/keys";
import { useAddress } from "@/nav";
import { useTitle } from "@/shell/title";
import { Button, Code, Empty, ProblemBanner, SearchBox, Select, SkeletonLines, Time } from "@/ui";

import { useDataset, type Dataset } from "./data";
import { DatasetPage } from "./DatasetPage";
import styles from "./datasets.module.css";
import { AliasMark, Blind } from "./marks";
import { VersionPage } from "./VersionPage";

const PART = 100;

export default function Datasets() {
  useTitle("data");
  const [search, change] = useAddress();
  const text = search.text ?? "";
  const project = search.project ?? "";
  const limit = Math.min(1000, Math.max(PART, Number(search.n) || PART));
  const { data, error, refetch, isPlaceholderData } = useQuery({
    queryKey: ["datasets", "list", text, project, limit],
    queryFn: ({ signal }) => api.get("/v1/datasets", { query: { text, project, limit }, signal }),
    placeholderData: keepPreviousData,
  });
  const projects = useQuery({ queryKey: ["projects", "all"], queryFn: ({ signal }) => api.get("/v1/projects", { signal }) });
  const list = useRef<HTMLUListElement>(null);
  const step = (by: number) => {
    const rows = [...(list.current?.querySelectorAll<HTMLElement>("[data-dataset]") ?? [])];
    const now = rows.indexOf(document.activeElement as HTMLElement);
    rows[now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, now + by))]?.focus();
  };
  useKeys({ j: { label: "Next dataset", run: () => step(1) }, k: { label: "Previous dataset", run: () => step(-1) } });
  if (error instanceof Problem && error.code === "unauthenticated") throw error;
  if (error && !data) return <ProblemBanner error={error} retry={() => void refetch()} />;
  const plain = !text && !project;
  return (
    <div className="stack">
      <div className="row">
        <h1>Data</h1>
        {data && data.total > 0 && <span className="quiet small">{plural(data.total, "dataset")}</span>}
        {(!plain || (data && data.total > 0)) && (
          <span className={`row push ${styles.find}`}>
            {((projects.data?.projects.length ?? 0) > 1 || project) && (
              <Select aria-label="Project" value={project} onChange={(event) => change({ project: event.target.value, n: undefined })}>
                <option value="">All projects</option>
                {(projects.data?.projects ?? []).map((one) => (
                  <option key={one.name} value={one.name}>
                    {one.name}
                  </option>
                ))}
              </Select>
            )}
            <span className={styles.search}>
              <SearchBox value={text} onChange={(next) => change({ text: next, n: undefined }, { replace: true })} label="Find by name, tag or alias" />
            </span>
          </span>
        )}
      </div>
      {!data ? (
        <SkeletonLines lines={8} />
      ) : data.datasets.length ? (
        <ul ref={list} className={styles.sets} aria-label="Datasets" aria-busy={isPlaceholderData}>
          {data.datasets.map((one) => (
            <Row key={one.id} dataset={one} />
          ))}
        </ul>
      ) : plain ? (
        <NoData />
      ) : (
        <p className="quiet">
          No dataset{project && <> of {project}</>} {text ? <>has “{text}” in its name, description, tags or aliases.</> : "is here yet."}
        </p>
      )}
      {data && data.total > data.datasets.length && limit < 1000 && (
        <div>
          <Button onClick={() => change({ n: String(limit + PART) }, { replace: true })}>Show more</Button>
        </div>
      )}
    </div>
  );
}

function Row({ dataset }: { dataset: Dataset }) {
  const { newest } = dataset;
  const aliases = Object.entries(dataset.aliases).sort(([a], [b]) => a.localeCompare(b));
  return (
    <li className={styles.set}>
      <div className={styles.setName}>
        <span className="row">
          <Link data-dataset={dataset.id} to="/datasets/$dataset/{-$version}/{-$section}" params={{ dataset: dataset.id, version: undefined, section: undefined }} className={styles.name}>
            {dataset.name}
          </Link>
          {dataset.blind && <Blind />}
        </span>
        <span className="quiet small">
          <Link to="/projects/$project" params={{ project: dataset.project }}>
            {dataset.project}
          </Link>
          {dataset.description && <> · {dataset.description}</>}
        </span>
      </div>
      <span className={styles.setAliases}>
        {aliases.slice(0, 4).map(([alias, number]) => (
          <AliasMark key={alias} alias={alias} number={number} />
        ))}
        {aliases.length > 4 && <span className="quiet small">and {aliases.length - 4} more</span>}
      </span>
      {newest ? (
        <>
          <span className={styles.setNewest}>
            <Link to="/datasets/$dataset/{-$version}/{-$section}" params={{ dataset: dataset.id, version: `v${newest.number}`, section: undefined }} className={`tabular ${styles.number}`}>
              v{newest.number}
            </Link>{" "}
            <span className="quiet small">
              <Time at={newest.committed ?? newest.created} tooltip={false} /> by {newest.user}
            </span>
            {newest.message && <span className={`quiet small ${styles.oneLine}`}>{newest.message}</span>}
          </span>
          <span className={`tabular small ${styles.setSize}`}>
            {bytes(newest.bytes)}
            <span className="quiet">{plural(newest.files, "file")}</span>
          </span>
        </>
      ) : (
        <span className={`quiet small ${styles.setNewest}`}>
          no version yet, made <Time at={dataset.created} tooltip={false} /> by {dataset.user}
        </span>
      )}
      <span className={`tabular small quiet ${styles.setCount}`}>{dataset.versions === 1 ? "1 version" : `${count(dataset.versions)} versions`}</span>
    </li>
  );
}

function NoData() {
  return (
    <Empty title="No data yet">
      <p>A dataset is a folder of files with its versions. Each version stays as it is for good, costs only what changed, and is tied to every run that read or wrote it.</p>
      <Code label="Commit a folder">{`larder login ${location.origin}\nlarder data commit photos/ --to shelf-images -m "march delivery"`}</Code>
      <p>And in a script:</p>
      <Code label="Read it in Python">{`import larder.data\n\nfolder = larder.data.get("shelf-images")`}</Code>
    </Empty>
  );
}

/** One dataset, or one version of it, as the address says. */
export function OneDataset() {
  const { dataset: said, version, section } = useParams({ strict: false }) as { dataset: string; version?: string; section?: string };
  const [search] = useAddress();
  const { data, error, refetch } = useDataset(said, search.project);
  if (error && !data) {
    if (error instanceof Problem && ["unauthenticated", "not_found"].includes(error.code)) throw error;
    return <ProblemBanner error={error} retry={() => void refetch()} />;
  }
  if (!data) return <SkeletonLines lines={8} />;
  return version ? <VersionPage key={data.id} dataset={data} said={version} section={section} /> : <DatasetPage key={data.id} dataset={data} />;
}
