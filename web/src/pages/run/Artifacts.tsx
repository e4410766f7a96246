// What the run has left: models, images, tables, texts, figures, each with a look at it.
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo } from "react";

import { address, api } from "@/api/client";
import { bytes, plural } from "@/format";
import { buttonClass, CopyButton, Empty, Icon, SearchBox, Select, SkeletonLines, Time } from "@/ui";

import { usePlace } from "./context";
import { DataTable, formatOf, type Artifact } from "./DataTable";
import styles from "./run.module.css";
import { useArtifacts } from "./RunView";
import { TextFile } from "./TextFile";

const Markdown = lazy(() => import("@/ui/Markdown").then((module) => ({ default: module.Markdown })));

const LARGEST_TEXT = 2_000_000;

type Look = "image" | "page" | "table" | "markdown" | "text" | "none";

export function lookOf(artifact: Artifact, path: string): Look {
  const ending = path.includes(".") ? path.split(".").pop()!.toLowerCase() : "";
  if (/^(png|jpe?g|gif|webp|avif|bmp|svg)$/.test(ending)) return "image";
  if (/^html?$/.test(ending)) return "page";
  if (formatOf(artifact, path)) return "table";
  if (ending === "md") return "markdown";
  if (/^(txt|text|log|rst|json|jsonl|ya?ml|toml|ini|cfg|tsv|xml|py|sh|sql|diff|patch|r|js|ts|css|c|h|cpp|java|go|rs|ipynb|tex)$/.test(ending) || artifact.kind === "text") return "text";
  return "none";
}

export default function Artifacts() {
  const { id, run, values, change } = usePlace();
  const found = useArtifacts(id);
  const find = (values.find ?? "").toLowerCase();
  const kinds = useMemo(() => {
    const byName = new Map<string, Artifact>();
    for (const one of found.data?.artifacts ?? []) byName.set(one.name, one);
    const grouped = new Map<string, Artifact[]>();
    for (const one of byName.values())
      if (one.name.toLowerCase().includes(find) || one.kind.includes(find)) grouped.set(one.kind, [...(grouped.get(one.kind) ?? []), one]);
    return [...grouped].sort(([a], [b]) => Number(a === "code") - Number(b === "code") || a.localeCompare(b));
  }, [found.data, find]);
  if (!found.data) return <SkeletonLines lines={8} />;
  if (!found.data.artifacts.length)
    return (
      <Empty title="No artifacts">
        <p>
          Keep models, images, tables and files with <code>run.log_artifact("model", model)</code>, <code>log_image</code>, <code>log_table</code>, <code>log_figure</code>.
        </p>
      </Empty>
    );
  const first = kinds[0]?.[1][0];
  const versions = found.data.artifacts.filter((one) => one.name === (values.name ?? first?.name));
  const chosen = versions.find((one) => String(one.version) === values.version) ?? versions[versions.length - 1];
  return (
    <div className={styles.split}>
      <div className="stack">
        <SearchBox value={values.find ?? ""} onChange={(text) => change({ find: text }, { replace: true })} label="Find artifacts" />
        <nav className={styles.list} aria-label="Artifacts">
          {kinds.map(([kind, all]) => (
            <div key={kind}>
              <div className={styles.listHead}>{kind || "other"}</div>
              {all.map((one) => (
                <button
                  key={one.name} type="button" className={styles.item} aria-current={one.name === chosen?.name} title={one.name}
                  onClick={() => change({ name: one.name, version: undefined, path: undefined, by: undefined, desc: undefined, row: undefined })}
                >
                  <span className="clip">{one.name}</span>
                  <span className="push quiet small tabular">{bytes(one.size)}</span>
                </button>
              ))}
            </div>
          ))}
          {!kinds.length && <p className="quiet small">No artifact's name holds “{values.find}”.</p>}
        </nav>
      </div>
      {chosen && <Preview key={`${chosen.name} ${chosen.version}`} artifact={chosen} versions={versions} run={run.id} />}
    </div>
  );
}

function Preview({ artifact, versions, run }: { artifact: Artifact; versions: Artifact[]; run: string }) {
  const { values, change } = usePlace();
  const files = artifact.files;
  const path = files.find((one) => one.path === values.path)?.path ?? (files.find((one) => formatOf(artifact, one.path)) ?? files[0])?.path;
  const file = files.find((one) => one.path === path);
  const at = versions.indexOf(artifact);
  const query = { name: artifact.name, path, version: artifact.version };
  const metadata = Object.entries(artifact.metadata).filter(([, value]) => value !== null && value !== "");
  return (
    <section className={styles.preview} aria-label={artifact.name}>
      <div className="row">
        <h2>{artifact.name}</h2>
        <span className="quiet small">
          {artifact.format} · {bytes(artifact.size)} · {artifact.step != null && `step ${artifact.step.toLocaleString("en")} · `}
          <Time at={artifact.created} />
        </span>
        <span className="push row">
          <CopyButton text={`larder.run("${run}").artifact("${artifact.name}").load()`} label="Copy the Python that loads" what={artifact.name} />
          {file && (
            <a className={buttonClass({ size: "small" })} href={address("/v1/runs/{run_id}/artifact-file", { params: { run_id: run }, query })} download>
              <Icon name="download" /> Download
            </a>
          )}
        </span>
      </div>
      {versions.length > 1 && (
        <label className={styles.range}>
          {artifact.step != null ? "Step" : "Version"}
          <input
            type="range" min={0} max={versions.length - 1} value={at} style={{ width: "min(20rem, 50vw)" }}
            aria-valuetext={artifact.step != null ? `step ${artifact.step}` : `version ${artifact.version}`}
            onChange={(event) => change({ name: artifact.name, version: String(versions[Number(event.target.value)]!.version) }, { replace: true })}
          />
          <span className="tabular">
            {artifact.step ?? artifact.version} ({at + 1} of {versions.length})
          </span>
        </label>
      )}
      {files.length > 1 && (
        <Select aria-label="File" value={path} onChange={(event) => change({ name: artifact.name, version: String(artifact.version), path: event.target.value }, { replace: true })}>
          {files.slice(0, 2000).map((one) => (
            <option key={one.path} value={one.path}>
              {one.path} ({bytes(one.size)})
            </option>
          ))}
        </Select>
      )}
      {file ? <FileView artifact={artifact} path={file.path} size={file.size} hash={file.hash} run={run} /> : <p className="quiet">It has no files.</p>}
      {(metadata.length > 0 || files.length > 1) && (
        <dl className={styles.pairs}>
          {files.length > 1 && (
            <>
              <dt>Files</dt>
              <dd>{plural(files.length, "file")}</dd>
            </>
          )}
          {metadata.map(([name, value]) => (
            <div key={name} style={{ display: "contents" }}>
              <dt>{name}</dt>
              <dd className={styles.value}>{typeof value === "string" ? value : JSON.stringify(value)}</dd>
            </div>
          ))}
        </dl>
      )}
    </section>
  );
}

function FileView({ artifact, path, size, hash, run }: { artifact: Artifact; path: string; size: number; hash: string; run: string }) {
  const look = lookOf(artifact, path);
  const source = address("/v1/runs/{run_id}/artifact-file", { params: { run_id: run }, query: { name: artifact.name, path, version: artifact.version, show: true } });
  if (look === "image")
    return (
      <div>
        <img src={source} alt={artifact.name} className={styles.image} />
      </div>
    );
  // its own origin, no network, no way to this page: the answer's policy says the same again
  if (look === "page") return <iframe src={source} title={artifact.name} sandbox="allow-scripts" className={styles.frame} loading="lazy" />;
  if (look === "table") return <DataTable artifact={artifact} path={path} />;
  if (look === "none") return <p className="quiet">There is no preview of this format. Download it, or load it in Python.</p>;
  if (size > LARGEST_TEXT) return <p className="quiet">This text has {bytes(size)}; download it to read it.</p>;
  return <TextView artifact={artifact} path={path} hash={hash} run={run} markdown={look === "markdown"} />;
}

function TextView({ artifact, path, hash, run, markdown }: { artifact: Artifact; path: string; hash: string; run: string; markdown: boolean }) {
  const found = useQuery({
    queryKey: ["file", "text", hash],
    queryFn: async ({ signal }) =>
      (await api.raw("/v1/runs/{run_id}/artifact-file", { params: { run_id: run }, query: { name: artifact.name, path, version: artifact.version }, signal })).text(),
    staleTime: Infinity,
  });
  if (found.error) return <p className="quiet">It cannot be read now: {found.error.message}</p>;
  if (found.data === undefined) return <SkeletonLines lines={6} />;
  if (markdown)
    return (
      <Suspense fallback={<SkeletonLines lines={6} />}>
        <Markdown text={found.data} />
      </Suspense>
    );
  return <TextFile text={path.endsWith(".json") ? pretty(found.data) : found.data} label={path} />;
}

function pretty(text: string): string {
  if (text.length > 200_000 || text.includes("\n")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
