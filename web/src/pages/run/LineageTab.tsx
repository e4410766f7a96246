// Where a run comes from and what was made from it: copies with their changes, continuations from a checkpoint.
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";

import { api, type Answer } from "@/api/client";
import { count, shortId, value as shown } from "@/format";
import { useUses, type Use } from "@/pages/datasets/data";
import { UseList } from "@/pages/datasets/Uses";
import { Empty, ProblemBanner, SkeletonLines, StatusBadge, Time } from "@/ui";

import { record, text, usePlace } from "./context";
import styles from "./run.module.css";

type Kin = Answer<"/v1/runs/{run_id}/lineage", "get">["children"][number];

export default function LineageTab() {
  const { id, run } = usePlace();
  const found = useQuery({
    queryKey: ["run", id, "lineage"],
    queryFn: ({ signal }) => api.get("/v1/runs/{run_id}/lineage", { params: { run_id: id }, signal }),
  });
  const uses = useUses({ run: id });
  if (found.error) return <ProblemBanner error={found.error} retry={() => void found.refetch()} />;
  if (!found.data || uses.isPending) return <SkeletonLines lines={6} />;
  const { ancestors, children, children_total, cut } = found.data;
  const data = record(run.facts.data);
  const used = record(run.facts.continued);
  const versions = uses.data?.uses ?? [];
  if (!ancestors.length && !children.length && !cut && !Object.keys(data).length && !versions.length)
    return (
      <Empty title="It stands alone">
        <p>Nothing was made from this run yet, and it was made from no other. Clone it, or continue from one of its checkpoints.</p>
      </Empty>
    );
  // how this run was made from its parent is told by the parent's entry
  const [parent] = ancestors;
  return (
    <div className="stack">
      {cut && <p className="quiet small">Its older ancestors are not told: one of them was deleted, or the line is very long.</p>}
      <div className={styles.kin}>
        {[...ancestors].reverse().map((kin, index, all) => (
          <Row key={kin.id} kin={kin} next={all[index + 1] ? relationOf(kin, all[index + 1]!.name) : relationOf(kin, "this run")} />
        ))}
        <div className={styles.kinRow} data-self="true">
          <StatusBadge status={run.status} />
          <strong>{run.name}</strong>
          <span className="mono quiet">{shortId(run.id)}</span>
          <span className="quiet">this run</span>
          {parent?.relation === "checkpoint" && text(used.name) && (
            <span className="quiet">
              uses {text(used.name)} version {text(used.version)} of {parent.name}
            </span>
          )}
          {Object.entries(data).map(([name, value]) => (
            <span key={name} className={styles.chip}>
              data {name} {shown(value)}
            </span>
          ))}
        </div>
      </div>
      <Versions title="Read" uses={versions.filter((one) => one.role !== "output")} />
      <Versions title="Wrote" uses={versions.filter((one) => one.role === "output")} />
      {children.length > 0 && (
        <section className={styles.section} aria-label="Made from it">
          <div className={styles.sectionHead}>
            <h2>Made from it</h2>
            <span className="quiet small tabular">{count(children_total)}</span>
          </div>
          <div className={`${styles.kin} ${styles.children}`}>
            {children.map((kin) => (
              <Row key={kin.id} kin={kin} next={null} own={relationOf(kin, "")} />
            ))}
          </div>
          {children_total > children.length && <p className="quiet small">The newest {children.length} of {count(children_total)} are listed.</p>}
        </section>
      )}
    </div>
  );
}

/** Versions of data that the run read or wrote. */
function Versions({ title, uses }: { title: string; uses: Use[] }) {
  if (!uses.length) return null;
  return (
    <section className={styles.section} aria-label={`Data that it ${title.toLowerCase()}`}>
      <div className={styles.sectionHead}>
        <h2>Data that it {title.toLowerCase()}</h2>
        <span className="quiet small tabular">{count(uses.length)}</span>
      </div>
      <UseList uses={uses} withVersion withRun={false} />
    </section>
  );
}

function relationOf(kin: Kin, younger: string): { words: string; params: [string, unknown][] } {
  const params = Object.entries(kin.params);
  const who = younger ? `${younger}: ` : "";
  if (kin.relation === "clone") return { words: `${who}a copy${params.length ? " with" : ", nothing changed"}`, params };
  if (kin.relation === "checkpoint") return { words: `${who}goes on from ${kin.checkpoint || "a checkpoint"}${kin.step != null ? ` at step ${count(kin.step)}` : ""}`, params };
  if (kin.relation === "part") return { words: `${who}started by it`, params: [] };
  return { words: `${who}made under it`, params: [] };
}

function Row({ kin, next, own }: { kin: Kin; next: ReturnType<typeof relationOf> | null; own?: ReturnType<typeof relationOf> }) {
  const told = own ?? next;
  return (
    <div className={styles.kinRow}>
      <StatusBadge status={kin.status} />
      <Link to="/runs/$run/{-$tab}" params={{ run: kin.id, tab: "lineage" }}>
        {kin.name}
      </Link>
      <span className="mono quiet">{shortId(kin.id)}</span>
      <span className="quiet">
        <Time at={kin.created} />
        {kin.user && ` by ${kin.user}`}
      </span>
      {told && (
        <span className="quiet">
          {next && "→ "}
          {told.words}
        </span>
      )}
      {told && told.params.length > 0 && (
        <span className={styles.chips}>
          {told.params.slice(0, 12).map(([name, value]) => (
            <span key={name} className={styles.chip}>
              {name} = {shown(value)}
            </span>
          ))}
          {told.params.length > 12 && <span className="quiet small">and {told.params.length - 12} more</span>}
        </span>
      )}
    </div>
  );
}
