// Where a version comes from and what was made of it: versions and the runs between them, as a graph and as lists.
import { useQueries } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";

import { api } from "@/api/client";
import { plural } from "@/format";
import { useNames } from "@/pages/queues/data";
import { Empty, ProblemBanner, SkeletonLines } from "@/ui";

import { usesQuery, useUses, type Use, type Version } from "./data";
import styles from "./datasets.module.css";
import { UseList } from "./Uses";
import type { PartProps } from "./VersionPage";

const MOST = 12;
const WIDTH = 210;
const GAP = 56;
const HEIGHT = 46;
const SPACE = 12;

interface Node {
  id: string;
  column: number;
  kind: "version" | "run" | "self" | "more";
  title: string;
  detail: string;
  to?: { to: string; params: object; search?: object };
}

export default function Lineage({ dataset, version }: PartProps) {
  const uses = useUses({ version: version.id });
  const all = useMemo(() => uses.data?.uses ?? [], [uses.data]);
  const writers = useMemo(() => runsOf(all, "output", version.run), [all, version.run]);
  const readers = useMemo(() => runsOf(all, "input").filter((one) => !writers.includes(one)), [all, writers]);
  const parents = useQueries({
    queries: version.parents.map((id) => ({
      queryKey: ["datasets", "version", "by id", id],
      queryFn: ({ signal }: { signal: AbortSignal }) => api.get("/v1/dataset-versions/{version_id}", { params: { version_id: id }, signal }),
      retry: false,
    })),
  });
  const near = [...writers.slice(0, MOST), ...readers.slice(0, MOST)];
  const others = useQueries({ queries: near.map((run) => usesQuery({ run })) });
  const names = useNames(near);
  if (uses.error && !uses.data) return <ProblemBanner error={uses.error} retry={() => void uses.refetch()} />;
  if (!uses.data) return <SkeletonLines lines={8} />;
  const known = new Map(near.map((run, index) => [run, others[index]?.data?.uses ?? []]));
  const shown = parents.flatMap((one) => (one.data ? [one.data] : []));
  const graph = graphOf({ dataset: dataset.id, version, writers, readers, parents: shown, known, names });
  const read = all.filter((one) => one.role !== "output");
  const wrote = all.filter((one) => one.role === "output");
  return (
    <div className="stack">
      {graph.nodes.length > 1 ? (
        <Graph {...graph} />
      ) : (
        <Empty title="It stands alone">
          <p>
            No run has read or written this version, and it has no parent. A run that reads it with <code>larder.data.get</code>, or writes it with <code>larder.data.commit</code>, is recorded here.
          </p>
        </Empty>
      )}
      {wrote.length > 0 && (
        <section className={styles.section} aria-label="Written by">
          <h2>Written by</h2>
          <UseList uses={wrote} />
        </section>
      )}
      {read.length > 0 && (
        <section className={styles.section} aria-label="Read by">
          <div className={styles.sectionHead}>
            <h2>Read by</h2>
            <span className="quiet small tabular">{plural(new Set(read.map((one) => one.run)).size, "run")}</span>
          </div>
          <UseList uses={read} />
        </section>
      )}
    </div>
  );
}

function runsOf(uses: Use[], role: string, first = ""): string[] {
  return [...new Set([first, ...uses.filter((one) => one.role === role).map((one) => one.run)])].filter(Boolean);
}

interface Known {
  dataset: string;
  version: Version;
  writers: string[];
  readers: string[];
  parents: Version[];
  known: Map<string, Use[]>;
  names: ReturnType<typeof useNames>;
}

/** Five columns: what it was made of, who made it, itself, who read it, what they made of it. */
function graphOf({ version, writers, readers, parents, known, names }: Known): { nodes: Node[]; edges: [string, string][] } {
  const nodes = new Map<string, Node>();
  const edges: [string, string][] = [];
  const add = (node: Node) => {
    if (!nodes.has(node.id)) nodes.set(node.id, node);
  };
  const link = (from: string, to: string) => {
    if (!edges.some(([a, b]) => a === from && b === to)) edges.push([from, to]);
  };
  const run = (id: string, column: number) =>
    add({
      id, column, kind: "run", title: names[id]?.name ?? `run ${id.slice(-8)}`, detail: names[id] ? `${names[id].status} · ${names[id].user}` : "run",
      to: { to: "/runs/$run/{-$tab}", params: { run: id, tab: "lineage" } },
    });
  const used = (use: Use, column: number) => {
    const slash = use.address.lastIndexOf("/");
    const name = use.address.slice(slash + 1);
    add({
      id: use.version, column, kind: "version", title: name, detail: use.address.slice(0, Math.max(0, slash)),
      to: { to: "/datasets/$dataset/{-$version}/{-$section}", params: { dataset: name.split("@")[0], version: use.version, section: "lineage" }, search: { project: use.address.slice(0, Math.max(0, slash)) } },
    });
  };
  add({ id: version.id, column: 2, kind: "self", title: `${version.name}@v${version.number}`, detail: "this version" });
  for (const parent of parents) {
    add({
      id: parent.id, column: 0, kind: "version", title: `${parent.name}@v${parent.number}`, detail: "parent",
      to: { to: "/datasets/$dataset/{-$version}/{-$section}", params: { dataset: parent.dataset, version: `v${parent.number}`, section: "lineage" } },
    });
    link(parent.id, version.id);
  }
  for (const id of writers.slice(0, MOST)) {
    run(id, 1);
    link(id, version.id);
    for (const use of (known.get(id) ?? []).filter((one) => one.role !== "output" && one.version !== version.id).slice(0, MOST)) {
      used(use, 0);
      link(use.version, id);
    }
  }
  for (const id of readers.slice(0, MOST)) {
    run(id, 3);
    link(version.id, id);
    for (const use of (known.get(id) ?? []).filter((one) => one.role === "output" && one.version !== version.id).slice(0, MOST)) {
      used(use, 4);
      link(id, use.version);
    }
  }
  const more = (all: string[], column: number, from: string, to: string) => {
    if (all.length <= MOST) return;
    add({ id: `more ${column}`, column, kind: "more", title: `and ${all.length - MOST} more`, detail: "listed below" });
    link(from || `more ${column}`, to || `more ${column}`);
  };
  more(writers, 1, "", version.id);
  more(readers, 3, version.id, "");
  return { nodes: [...nodes.values()], edges };
}

function Graph({ nodes, edges }: { nodes: Node[]; edges: [string, string][] }) {
  const columns = [...new Set(nodes.map((node) => node.column))].sort();
  const tall = Math.max(...columns.map((column) => nodes.filter((node) => node.column === column).length));
  const height = tall * (HEIGHT + SPACE) - SPACE;
  const places = new Map<string, { x: number; y: number }>();
  columns.forEach((column, at) => {
    const own = nodes.filter((node) => node.column === column);
    const top = (height - (own.length * (HEIGHT + SPACE) - SPACE)) / 2;
    own.forEach((node, index) => places.set(node.id, { x: at * (WIDTH + GAP), y: top + index * (HEIGHT + SPACE) }));
  });
  const width = columns.length * (WIDTH + GAP) - GAP;
  return (
    <div className={styles.graph} role="region" aria-label="Lineage, from what it was made of to what was made of it" tabIndex={0}>
      <div className={styles.canvas} style={{ width, height }}>
        <svg width={width} height={height} aria-hidden="true">
          {edges.map(([from, to]) => {
            const a = places.get(from);
            const b = places.get(to);
            if (!a || !b) return null;
            const [x, y, u, v] = [a.x + WIDTH, a.y + HEIGHT / 2, b.x, b.y + HEIGHT / 2];
            const bend = Math.max(24, (u - x) / 2);
            return <path key={`${from} ${to}`} d={`M${x} ${y}C${x + bend} ${y} ${u - bend} ${v} ${u} ${v}`} />;
          })}
        </svg>
        {nodes.map((node) => {
          const { x, y } = places.get(node.id)!;
          const inside = (
            <>
              <span className="clip" title={node.title}>
                {node.title}
              </span>
              <span className="quiet small clip">{node.detail}</span>
            </>
          );
          const shared = { className: styles.node, "data-kind": node.kind, style: { left: x, top: y, width: WIDTH, height: HEIGHT } };
          return node.to ? (
            <Link key={node.id} {...(node.to as { to: "/" })} {...shared}>
              {inside}
            </Link>
          ) : (
            <div key={node.id} {...shared}>
              {inside}
            </div>
          );
        })}
      </div>
    </div>
  );
}
