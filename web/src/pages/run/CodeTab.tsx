// The code that was executed: its files, how it differs from its commit, from the parent or from any other run.
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { api, Problem, type Answer } from "@/api/client";
import { bytes, plural } from "@/format";
import { Banner, Code, Empty, Icon, ProblemBanner, SearchBox, Segments, SkeletonLines, TagChip } from "@/ui";
import { Diff } from "@/ui/Diff";

import { record, text, usePlace } from "./context";
import { PickRun } from "./PickRun";
import styles from "./run.module.css";
import { TextFile } from "./TextFile";

type CodeFile = Answer<"/v1/runs/{run_id}/code", "get">["files"][number];
type View = "files" | "commit" | "run";

const SIGNS: Record<string, string> = { added: "A", changed: "M", deleted: "D" };

export default function CodeTab() {
  const { id, run, values, change } = usePlace();
  const found = useQuery({
    queryKey: ["run", id, "code"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/code", { params: { run_id: id }, signal }),
    staleTime: 60_000,
  });
  const against = values.against ?? run.parent ?? "";
  const code = found.data;
  if (found.error) return <ProblemBanner error={found.error} retry={() => void found.refetch()} />;
  if (!code) return <SkeletonLines lines={8} />;
  if (code.kind === "none")
    return (
      <Empty title="No code was recorded">
        <p>{text(record(run.facts.code).why) || "It is recorded right after larder.init, from the git repository or the folder of the script."}</p>
      </Empty>
    );
  const changed = code.files.filter((file) => file.change).length;
  const view: View = values.code === "run" || values.code === "commit" || values.code === "files" ? values.code : code.kind === "git" && changed > 0 ? "commit" : "files";
  const command = record(run.facts.command);
  const argv = Array.isArray(command.argv) ? command.argv.map(String).join(" ") : "";
  return (
    <div className="stack">
      <dl className={styles.pairs}>
        {code.kind === "git" ? (
          <>
            <dt>Commit</dt>
            <dd>
              {code.link ? (
                <a href={code.link} target="_blank" rel="noreferrer noopener" className="mono">
                  {code.commit.slice(0, 12)} <Icon name="external" size={12} />
                </a>
              ) : (
                <span className="mono">{code.commit ? code.commit.slice(0, 12) : "none yet"}</span>
              )}
              {code.branch && ` on ${code.branch}`}
              {changed > 0 ? `, ${plural(changed, "file")} not committed` : ", nothing uncommitted"}
            </dd>
          </>
        ) : (
          <>
            <dt>Packed</dt>
            <dd>{plural(code.files.length, "file")} of a folder without git</dd>
          </>
        )}
        {code.remote && (
          <>
            <dt>Remote</dt>
            <dd className="mono">{code.remote}</dd>
          </>
        )}
        {argv && (
          <>
            <dt>Command</dt>
            <dd className="mono">{argv}</dd>
          </>
        )}
        <dt>Bring it back</dt>
        <dd>
          <Code label="Command that restores the code">{`larder code restore ${run.id}`}</Code>
        </dd>
      </dl>
      <div className={styles.tools}>
        <Segments<View>
          label="What is shown" value={view} onChange={(next) => change({ code: next })}
          options={[
            { id: "files", label: "Files" },
            ...(code.kind === "git" ? [{ id: "commit" as const, label: "Not committed" }] : []),
            { id: "run", label: "Against a run" },
          ]}
        />
        {view === "run" && <Against against={against} onChange={(next) => change({ against: next, code: "run" })} />}
      </div>
      {view === "files" && <Files files={code.files} whole={code.whole} link={code.link} />}
      {view === "commit" && <Differences against="" none="Nothing differs from the commit." />}
      {view === "run" &&
        (against ? <Differences against={against} none="The code of both runs is the same." /> : <p className="quiet">Choose a run to compare the code with.</p>)}
      {code.skipped.length > 0 && (
        <details>
          <summary className="small quiet">{plural(code.skipped.length, "file")} left out</summary>
          <ul className="small">
            {code.skipped.map((file) => (
              <li key={file.path}>
                <span className="mono">{file.path}</span> <span className="quiet">{file.why}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

function Against({ against, onChange }: { against: string; onChange: (id: string) => void }) {
  const { id, run } = usePlace();
  const other = useQuery({
    queryKey: ["run", against],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}", { params: { run_id: against }, signal }),
    enabled: against !== "",
    retry: false,
  });
  return (
    <span className="row">
      {other.data && <TagChip tag={`${against === run.parent ? "parent " : ""}${other.data.name}`} />}
      <PickRun project={run.project} not={[id]} label="Another run…" onPick={onChange} />
    </span>
  );
}

export function Differences({ against, none }: { against: string; none: string }) {
  const { id } = usePlace();
  const found = useQuery({
    queryKey: ["run", id, "code-diff", against],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/code-diff", { params: { run_id: id }, query: { against }, signal }),
    staleTime: 60_000,
  });
  if (found.error) return <ProblemBanner error={found.error} retry={() => void found.refetch()} />;
  if (!found.data) return <SkeletonLines lines={8} />;
  const { files, note, link } = found.data;
  return (
    <div className="stack">
      {note && (
        <Banner kind="info">
          {note}{" "}
          {link && (
            <a href={link} target="_blank" rel="noreferrer noopener">
              Compare the commits
            </a>
          )}
        </Banner>
      )}
      {!files.length && !note && <p className="quiet">{none}</p>}
      {files.map((file) => (
        <section key={file.path} className={styles.section} aria-label={file.path}>
          <div className={styles.sectionHead}>
            <h3 className="mono">{file.path}</h3>
            <span className="quiet small tabular">
              {file.change}
              {(file.added > 0 || file.removed > 0) && ` +${file.added} −${file.removed}`}
              {file.of_changes && " · how the changes of both runs differ"}
            </span>
          </div>
          {file.diff ? <Diff text={file.diff} label={`Differences of ${file.path}`} /> : <p className="quiet small">No difference of texts to show.</p>}
        </section>
      ))}
    </div>
  );
}

function Files({ files, whole, link }: { files: CodeFile[]; whole: boolean; link: string }) {
  const { id, values, change, run } = usePlace();
  const find = (values.find ?? "").toLowerCase();
  const shown = useMemo(() => files.filter((file) => file.path.toLowerCase().includes(find)), [files, find]);
  const command = record(run.facts.command);
  const script = text(command.script).split("/").pop() ?? "";
  const readable = files.filter((file) => file.readable);
  const path =
    values.file ??
    (readable.find((file) => script !== "" && file.path.endsWith(script)) ?? readable.find((file) => file.change) ?? readable.find((file) => file.path.endsWith(".py")) ?? readable[0])?.path;
  const content = useQuery({
    queryKey: ["run", id, "code-file", path],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/code-file", { params: { run_id: id }, query: { path: path! }, signal }),
    enabled: path !== undefined,
    staleTime: 60_000,
    retry: false,
  });
  return (
    <div className="stack">
      {!whole && (
        <Banner kind="info">
          The commit is at its remote, only what was not committed is kept here.{" "}
          {link && (
            <a href={link} target="_blank" rel="noreferrer noopener">
              See all files there
            </a>
          )}
        </Banner>
      )}
      <div className={styles.split}>
        <div className="stack">
          <SearchBox value={values.find ?? ""} onChange={(next) => change({ find: next }, { replace: true })} label="Find files" />
          <nav className={styles.list} aria-label="Files">
            {shown.slice(0, 2000).map((file) => (
              <button
                key={file.path} type="button" className={styles.item} aria-current={file.path === path} disabled={!file.readable} title={file.path}
                onClick={() => change({ file: file.path, code: "files" })}
              >
                <span className="clip mono">{file.path}</span>
                {file.change && (
                  <span className={`push ${styles.chip}`} title={file.change}>
                    {SIGNS[file.change] ?? file.change}
                  </span>
                )}
                {!file.change && file.size != null && <span className="push quiet small tabular">{bytes(file.size)}</span>}
              </button>
            ))}
            {shown.length > 2000 && <p className="quiet small">{plural(shown.length - 2000, "more file")}: search for them.</p>}
            {!shown.length && <p className="quiet small">No file fits.</p>}
          </nav>
        </div>
        <section className={styles.preview} aria-label={path ?? "File"}>
          {path === undefined ? (
            <p className="quiet">No file of it is text that is kept here.</p>
          ) : content.error ? (
            <p className="quiet">{content.error instanceof Problem ? `${content.error.message}. ${content.error.hint}` : content.error.message}</p>
          ) : content.data ? (
            <>
              <h2 className="mono">{path}</h2>
              <TextFile text={content.data.text} label={path} />
              {content.data.cut && <p className="quiet small">Only its first million characters are shown.</p>}
            </>
          ) : (
            <SkeletonLines lines={8} />
          )}
        </section>
      </div>
    </div>
  );
}
