// The tree of a version: a folder at a time, folders first, as a list or as pictures, and a look at the file that is open.
import { Link } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useRef, useState } from "react";

import { api } from "@/api/client";
import { bytes, count, plural } from "@/format";
import { useKeys } from "@/keys";
import { useAddress } from "@/nav";
import { Banner, Button, Icon, ProblemBanner, Segments, Skeleton, SkeletonLines } from "@/ui";

import { fileAddress, PART, useParts, type Folder, type Item } from "./data";
import styles from "./datasets.module.css";
import { folderOf, lookOf, nameOf } from "./looks";
import { WHY_BLIND } from "./marks";
import { Preview } from "./Preview";
import type { PartProps } from "./VersionPage";

export default function Files({ dataset, version }: PartProps) {
  const [asked, setAsked] = useState(false);
  if ((dataset.blind || version.blind) && !asked)
    return (
      <Banner actions={<Button size="small" onClick={() => setAsked(true)}>Ask for its items</Button>}>
        {WHY_BLIND} It holds {plural(version.files, "file")} of {bytes(version.bytes)} together. Asking for its items is written down, whether it is granted or refused.
      </Banner>
    );
  return <Tree version={version.id} />;
}

function Tree({ version }: { version: string }) {
  const [search, change] = useAddress();
  const file = search.file ?? "";
  const path = search.path ?? folderOf(file);
  const found = useParts<Folder, Item>(
    ["tree", version, "folder", path],
    (offset, signal) => api.get("/v1/dataset-versions/{version_id}/folder", { params: { version_id: version }, query: { path, limit: PART, offset }, signal }),
    (part) => part,
  );
  const first = found.first?.items ?? [];
  const pictures = first.filter((one) => !one.folder && lookOf(one.path) === "image").length;
  const grid = search.view ? search.view === "grid" : pictures > 0 && pictures * 2 >= first.length;
  const up = path ? folderOf(path) : null;
  const [cursor, setCursor] = useState(-1);
  const [before, setBefore] = useState(path);
  if (before !== path) {
    setBefore(path);
    setCursor(-1);
  }
  const total = found.total;
  const step = (by: number) => setCursor((now) => (total ? Math.max(0, Math.min(total - 1, now < 0 ? (by > 0 ? 0 : total - 1) : now + by)) : -1));
  useKeys(
    {
      j: { label: "Next item", run: () => step(1) },
      k: { label: "Previous item", run: () => step(-1) },
      u: up === null ? undefined : { label: "Up one folder", run: () => change({ path: up, file: undefined }) },
      g: { label: "List or pictures", run: () => change({ view: grid ? "list" : "grid" }, { replace: true }) },
      Escape: file ? { label: "Close the file", run: () => change({ path, file: undefined }) } : undefined,
    },
    { scope: "Files" },
  );
  const steps = path ? path.split("/") : [];
  const listed = { found, file, cursor, version };
  return (
    <div className={styles.section}>
      <div className={styles.tools}>
        <nav className={styles.path} aria-label="Folder">
          <ToFolder path="">all files</ToFolder>
          {steps.map((name, index) => (
            <span key={index} className={styles.pathStep}>
              <span aria-hidden="true">/</span>
              <ToFolder path={steps.slice(0, index + 1).join("/")}>{name}</ToFolder>
            </span>
          ))}
        </nav>
        {found.first && (
          <span className="quiet small tabular">
            {plural(found.first.files, "file")}, {bytes(found.first.bytes)}
          </span>
        )}
        <span className="push">
          <Segments
            label="Look" value={grid ? "grid" : "list"} onChange={(next) => change({ view: next }, { replace: true })}
            options={[
              { id: "list", label: "List" },
              { id: "grid", label: "Pictures" },
            ]}
          />
        </span>
      </div>
      <div className={file ? styles.split : undefined}>
        {found.error && !found.first ? (
          <ProblemBanner error={found.error} retry={() => void found.refetch()} />
        ) : !found.first ? (
          <SkeletonLines lines={8} />
        ) : total === 0 ? (
          <p className="quiet">This version has no files.</p>
        ) : grid ? (
          <Grid key={path} {...listed} />
        ) : (
          <List key={path} {...listed} />
        )}
        {file && <Preview key={`${version} ${file}`} version={version} path={file} onClose={() => change({ path, file: undefined })} />}
      </div>
    </div>
  );
}

function ToFolder({ path, children }: { path: string; children: string }) {
  return (
    <Link to="." search={((now: Record<string, unknown>) => ({ ...now, path: path || undefined, file: undefined })) as never} resetScroll={false} className={styles.wrap}>
      {children}
    </Link>
  );
}

/** Opens a file beside the list, or goes into a folder. */
function ToItem({ item, current, children, className }: { item: Item; current: boolean; children: React.ReactNode; className?: string }) {
  return (
    <Link
      to="." className={className} aria-current={current ? "true" : undefined} activeProps={{}} resetScroll={false} data-item={item.path}
      search={
        ((now: Record<string, unknown>) =>
          item.folder ? { ...now, path: item.path, file: undefined, row: undefined, by: undefined } : { ...now, path: folderOf(item.path) || undefined, file: item.path, row: undefined, by: undefined, desc: undefined }) as never
      }
    >
      {children}
    </Link>
  );
}

interface Listed {
  found: ReturnType<typeof useParts<Folder, Item>>;
  file: string;
  cursor: number;
  version: string;
}

function List({ found, file, cursor }: Listed) {
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({ count: found.total, getScrollElement: () => box.current, estimateSize: () => 36, overscan: 12 });
  const items = virtual.getVirtualItems();
  useSeen(found.see, items[0]?.index ?? 0, items[items.length - 1]?.index ?? 0);
  useCursor(box, cursor, cursor, virtual.scrollToIndex);
  return (
    <div ref={box} className={styles.tree} role="list" aria-label="Files">
      <div className={styles.rows} style={{ height: virtual.getTotalSize() }}>
        {items.map((place) => {
          const item = found.at(place.index);
          return (
            <div key={place.key} role="listitem" aria-setsize={found.total} aria-posinset={place.index + 1} className={styles.item} data-at={place.index} style={{ transform: `translateY(${place.start}px)` }}>
              {item ? (
                <ToItem item={item} current={item.path === file} className={styles.itemLink}>
                  <FileSign item={item} />
                  <span className="clip" title={nameOf(item.path)}>
                    {nameOf(item.path)}
                    {item.folder && "/"}
                  </span>
                  <span className="push quiet small tabular">
                    {item.folder && `${count(item.files)} · `}
                    {bytes(item.bytes)}
                  </span>
                </ToItem>
              ) : (
                <Skeleton width="60%" />
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}

const CELL = 148;

function Grid({ found, file, cursor, version }: Listed) {
  const box = useRef<HTMLDivElement>(null);
  const [columns, setColumns] = useState(4);
  useLayoutEffect(() => {
    const node = box.current!;
    const watch = new ResizeObserver(() => setColumns(Math.max(2, Math.floor(node.clientWidth / CELL))));
    watch.observe(node);
    return () => watch.disconnect();
  }, []);
  const virtual = useVirtualizer({ count: Math.ceil(found.total / columns), getScrollElement: () => box.current, estimateSize: () => 164, overscan: 3 });
  const lines = virtual.getVirtualItems();
  useSeen(found.see, (lines[0]?.index ?? 0) * columns, Math.min(found.total, ((lines[lines.length - 1]?.index ?? 0) + 1) * columns) - 1);
  useCursor(box, cursor, cursor < 0 ? -1 : Math.floor(cursor / columns), virtual.scrollToIndex);
  return (
    <div ref={box} className={styles.tree} role="list" aria-label="Files">
      <div className={styles.rows} style={{ height: virtual.getTotalSize() }}>
        {lines.map((line) => (
          <div key={line.key} role="presentation" className={styles.gridLine} style={{ transform: `translateY(${line.start}px)`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
            {Array.from({ length: Math.min(columns, found.total - line.index * columns) }, (_, index) => {
              const at = line.index * columns + index;
              const item = found.at(at);
              return (
                <div key={at} role="listitem" aria-setsize={found.total} aria-posinset={at + 1} data-at={at}>
                  {item ? (
                    <ToItem item={item} current={item.path === file} className={styles.cell}>
                      <span className={styles.cellFace}>
                        {!item.folder && item.mode !== "external" && lookOf(item.path) === "image" ? <Thumbnail version={version} path={item.path} /> : <FileSign item={item} size={32} />}
                      </span>
                      <span className={`clip small ${styles.cellName}`} title={nameOf(item.path)}>
                        {nameOf(item.path)}
                        {item.folder && "/"}
                      </span>
                      <span className="quiet small tabular">{item.folder ? plural(item.files, "file") : bytes(item.bytes)}</span>
                    </ToItem>
                  ) : (
                    <Skeleton height="9rem" />
                  )}
                </div>
              );
            })}
          </div>
        ))}
      </div>
    </div>
  );
}

/** A picture of a version, small; what cannot be shown says so. */
export function Thumbnail({ version, path, className = styles.thumb }: { version: string; path: string; className?: string }) {
  const [broken, setBroken] = useState(false);
  if (broken) return <span className="quiet small">no picture</span>;
  return <img src={fileAddress(version, path)} alt="" className={className} loading="lazy" decoding="async" onError={() => setBroken(true)} />;
}

function FileSign({ item, size }: { item: Item; size?: number }) {
  return <Icon name={item.folder ? "archive" : item.mode === "external" ? "external" : item.mode === "link" ? "link" : lookOf(item.path) === "image" ? "panel" : lookOf(item.path) === "table" ? "columns" : "copy"} size={size} />;
}

function useSeen(see: (low: number, high: number) => void, low: number, high: number): void {
  useEffect(() => see(low, high), [see, low, high]);
}

/** The item that the keys have come to is brought into view and gets the focus. */
function useCursor(box: React.RefObject<HTMLDivElement | null>, cursor: number, line: number, scrollTo: (line: number, options: { align: "auto" }) => void): void {
  useEffect(() => {
    if (cursor < 0) return;
    scrollTo(line, { align: "auto" });
    let tries = 0;
    let frame = 0;
    const focus = () => {
      const found = box.current?.querySelector<HTMLElement>(`[data-at="${cursor}"] a`);
      if (found) found.focus({ preventScroll: true });
      else if (tries++ < 30) frame = requestAnimationFrame(focus);
    };
    frame = requestAnimationFrame(focus);
    return () => cancelAnimationFrame(frame);
  }, [box, cursor, line, scrollTo]);
}
