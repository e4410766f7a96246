// A version against any other: what was added, removed, changed, renamed; pictures side by side.
import { Link } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { api } from "@/api/client";
import { bytes, count } from "@/format";
import { useAddress } from "@/nav";
import { Banner, Button, CopyAs, Dialog, ProblemBanner, SearchBox, Segments, Select, Skeleton, SkeletonLines } from "@/ui";
import { shell } from "@/pages/runs/copy";

import { fileAddress, PART, useParts, useVersions, type Changed, type Diff, type Version } from "./data";
import styles from "./datasets.module.css";
import { Thumbnail } from "./Files";
import { folderOf, lookOf, nameOf, python } from "./looks";
import { WHY_BLIND } from "./marks";
import type { PartProps } from "./VersionPage";

const KINDS = ["added", "removed", "changed", "renamed"] as const;

export default function ChangesTab({ dataset, version }: PartProps) {
  const [search, change] = useAddress();
  const versions = useVersions(dataset.id, { limit: 500 });
  const others = (versions.data?.versions ?? []).filter((one) => one.id !== version.id);
  // an address names the other version by its number, as people do
  const said = others.find((one) => `v${one.number}` === search.against) ?? null;
  const against = said?.id ?? "";
  const waits = Boolean(search.against) && !said && !versions.data;
  const parent = others.find((one) => one.id === version.parents[0]);
  const blind = dataset.blind || version.blind;
  const counts = useQuery({
    queryKey: ["tree", version.id, "diff", against, "counts"],
    queryFn: ({ signal }) => api.get("/v1/dataset-versions/{version_id}/diff", { params: { version_id: version.id }, query: { against, limit: 0 }, signal }),
    staleTime: Infinity,
    enabled: !waits,
  });
  const other = said ?? parent;
  const address = `${dataset.project}/${dataset.name}`;
  const told = counts.data;
  return (
    <div className={styles.section}>
      <div className={styles.tools}>
        <label className="row small">
          Against
          <Select className={styles.against} value={search.against ?? ""} onChange={(event) => change({ against: event.target.value, kind: undefined })}>
            <option value="">{parent ? `v${parent.number}, the one before it` : version.parents.length ? "the one before it" : "nothing: it is the first"}</option>
            {others
              .filter((one) => one.id !== parent?.id)
              .map((one) => (
                <option key={one.id} value={`v${one.number}`}>
                  v{one.number} {one.message.slice(0, 40)}
                </option>
              ))}
          </Select>
        </label>
        {told && (
          <span className="quiet small tabular">
            {told.size_delta === 0 ? "the same size" : `${told.size_delta > 0 ? "+" : "−"}${bytes(Math.abs(told.size_delta))}`}
          </span>
        )}
        {other && (
          <span className="push">
            <CopyAs
              python={`import larder.data\n\nchanges = larder.data.diff(${python(`${address}@v${other.number}`)}, ${python(`${address}@v${version.number}`)})`}
              cli={`larder data diff ${shell(`${address}@v${other.number}`)} ${shell(`${address}@v${version.number}`)}`}
              curl={`curl -H "Authorization: Bearer $LARDER_TOKEN" ${shell(`${location.origin}/v1/dataset-versions/${version.id}/diff?against=${other.id}`)}`}
            />
          </span>
        )}
      </div>
      {counts.error && !told ? (
        <ProblemBanner error={counts.error} retry={() => void counts.refetch()} />
      ) : !told ? (
        <SkeletonLines lines={8} />
      ) : (
        <>
          <div className={styles.tools}>
            <Segments
              label="Kind of change" value={KINDS.find((one) => one === search.kind) ?? "all"} onChange={(next) => change({ kind: next === "all" ? undefined : next }, { replace: true })}
              options={[
                { id: "all" as const, label: <>All {count(told.added + told.removed + told.changed + told.renamed)}</> },
                ...KINDS.map((id) => ({ id, label: <>{id[0]!.toUpperCase() + id.slice(1)} {count(told[id])}</> })),
              ]}
            />
            {!blind && <SearchBox value={search.prefix ?? ""} onChange={(text) => change({ prefix: text }, { replace: true })} label="Paths that begin with" />}
          </div>
          {blind ? <Banner>{WHY_BLIND}</Banner> : <Listing version={version} against={against} other={other} kind={KINDS.find((one) => one === search.kind) ?? ""} prefix={search.prefix ?? ""} />}
        </>
      )}
    </div>
  );
}

function Listing({ version, against, other, kind, prefix }: { version: Version; against: string; other?: Version; kind: string; prefix: string }) {
  const found = useParts<Diff, Changed>(
    ["tree", version.id, "diff", against, kind, prefix],
    (offset, signal) => api.get("/v1/dataset-versions/{version_id}/diff", { params: { version_id: version.id }, query: { against, kind, prefix, limit: PART, offset }, signal }),
    (part) => ({ total: part.total, items: part.changes }),
  );
  const box = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<Changed | null>(null);
  const virtual = useVirtualizer({ count: found.total, getScrollElement: () => box.current, estimateSize: (index) => (isPicture(found.at(index)) ? 96 : 44), overscan: 8 });
  const items = virtual.getVirtualItems();
  const { see } = found;
  const [low, high] = [items[0]?.index ?? 0, items[items.length - 1]?.index ?? 0];
  useEffect(() => see(low, high), [see, low, high]);
  if (found.error && !found.first) return <ProblemBanner error={found.error} retry={() => void found.refetch()} />;
  if (!found.first) return <SkeletonLines lines={8} />;
  if (!found.total) return <p className="quiet">{kind || prefix ? "No such change." : "The two hold the same files."}</p>;
  return (
    <>
      <div ref={box} className={styles.tree} role="list" aria-label="Changes">
        <div className={styles.rows} style={{ height: virtual.getTotalSize() }}>
          {items.map((place) => {
            const one = found.at(place.index);
            return (
              <div
                key={place.key} ref={virtual.measureElement} data-index={place.index} role="listitem" aria-setsize={found.total} aria-posinset={place.index + 1}
                className={styles.change} style={{ transform: `translateY(${place.start}px)` }} data-kind={one?.kind}
              >
                {one ? <ChangeRow change={one} version={version} other={other} onOpen={() => setOpen(one)} /> : <Skeleton width="60%" />}
              </div>
            );
          })}
        </div>
      </div>
      <Dialog open={open !== null} onClose={() => setOpen(null)} title={open ? nameOf(open.path) : ""} size="wide">
        {open && <Side change={open} version={version} other={other} large />}
      </Dialog>
    </>
  );
}

function isPicture(change: Changed | undefined): boolean {
  return change !== undefined && lookOf(change.path) === "image";
}

const SIGNS: Record<string, string> = { added: "+", removed: "−", changed: "~", renamed: "→" };

function ChangeRow({ change, version, other, onOpen }: { change: Changed; version: Version; other?: Version; onOpen: () => void }) {
  const { kind, path, before, old_bytes, new_bytes } = change;
  const home = kind === "removed" ? other : version;
  return (
    <>
      <span className={styles.sign} data-kind={kind} title={kind}>
        {SIGNS[kind]}
        <span className="hidden">{kind}</span>
      </span>
      <span className={styles.changePath}>
        {kind === "renamed" && <span className="quiet">{before} → </span>}
        {home ? (
          <Link to="/datasets/$dataset/{-$version}/{-$section}" params={{ dataset: home.dataset, version: `v${home.number}`, section: undefined }} search={{ path: folderOf(path), file: path } as never}>
            {path}
          </Link>
        ) : (
          path
        )}
      </span>
      {isPicture(change) && (
        <Button kind="quiet" className={styles.pair} aria-label={`Enlarge ${path}`} onClick={onOpen}>
          <Side change={change} version={version} other={other} />
        </Button>
      )}
      <span className="quiet small tabular">
        {kind === "changed" && old_bytes !== new_bytes ? `${bytes(old_bytes)} → ${bytes(new_bytes)}` : bytes(kind === "removed" ? old_bytes : new_bytes)}
      </span>
    </>
  );
}

function Side({ change, version, other, large = false }: { change: Changed; version: Version; other?: Version; large?: boolean }) {
  const { kind, path, before } = change;
  const sides = [
    kind !== "added" && kind !== "renamed" && other ? { version: other, path: before || path } : null,
    kind !== "removed" ? { version, path } : null,
  ].filter((one) => one !== null);
  if (large)
    return (
      <div className={styles.sides}>
        {sides.map((side) => (
          <figure key={side.version.id}>
            <figcaption className="quiet small">
              v{side.version.number} · {side.path}
            </figcaption>
            <img src={fileAddress(side.version.id, side.path)} alt={`${side.path} in version ${side.version.number}`} className={styles.image} />
          </figure>
        ))}
      </div>
    );
  return (
    <>
      {sides.map((side, index) => (
        <span key={side.version.id} className={styles.pairSide}>
          {index > 0 && <span aria-hidden="true">→</span>}
          <Thumbnail version={side.version.id} path={side.path} className={styles.smallThumb} />
        </span>
      ))}
    </>
  );
}
