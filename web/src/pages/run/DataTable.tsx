// A table that a run has logged: sorted by any column, searched, with its pictures; a row opens with all that it holds.
import { useQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, useState } from "react";

import { address, api, type Answer } from "@/api/client";
import { bytes, count, number, plural } from "@/format";
import type { ChangeSearch, Search } from "@/nav";
import { Dialog, Num, SearchBox, SkeletonLines } from "@/ui";

import { usePlace } from "./context";
import { lowerIsBetter } from "./metrics";
import styles from "./run.module.css";
import { isPicture, LARGEST, ordered, pictureOf, read, textOf, type Cell, type Table } from "./tables";

export type Artifact = Answer<"/v1/runs/{run_id}/artifacts", "get">["artifacts"][number];

export function tableFile(artifact: Artifact): Artifact["files"][number] | undefined {
  return artifact.files.find((file) => formatOf(artifact, file.path) !== null);
}

export function formatOf(artifact: Artifact, path: string): "csv" | "tsv" | "parquet" | null {
  const ending = path.split(".").pop()?.toLowerCase() ?? "";
  if (ending === "csv" || ending === "tsv" || ending === "parquet") return ending;
  return artifact.files.length === 1 && (artifact.format === "csv" || artifact.format === "parquet") ? artifact.format : null;
}

/** The column by which the worst samples come first. */
export function lossColumn(table: Table): number {
  const numbers = table.columns.map((column, index) => ({ ...column, index })).filter((column) => column.kind === "number");
  return (numbers.find((column) => /loss/i.test(column.name)) ?? numbers.find((column) => lowerIsBetter(column.name) === true))?.index ?? -1;
}

export function DataTable({ artifact, path, worstFirst = false }: { artifact: Artifact; path: string; worstFirst?: boolean }) {
  const { id, values, change } = usePlace();
  const file = artifact.files.find((one) => one.path === path)!;
  const format = formatOf(artifact, path) ?? "csv";
  const pictures = useMemo(() => new Set(artifact.files.map((one) => one.path).filter((one) => /\.(png|jpe?g|gif|webp|svg|avif|bmp)$/i.test(one))), [artifact]);
  const found = useQuery({
    queryKey: ["file", "table", file.hash, format],
    queryFn: async ({ signal }) => {
      const answer = await api.raw("/v1/runs/{run_id}/artifact-file", { params: { run_id: id }, query: { name: artifact.name, path, version: artifact.version }, signal });
      return read(await answer.arrayBuffer(), format, pictures);
    },
    staleTime: Infinity,
    retry: false,
    enabled: file.size <= LARGEST,
  });
  if (file.size > LARGEST) return <p className="quiet">This table has {bytes(file.size)}; tables up to {bytes(LARGEST)} are shown. Download it to look at it.</p>;
  if (found.error) return <p className="quiet">This table cannot be read here: {found.error.message}. Download it to look at it.</p>;
  if (!found.data) return <SkeletonLines lines={8} />;
  return (
    <Rows
      table={found.data} artifact={artifact} pictures={pictures} worstFirst={worstFirst} values={values} change={change}
      source={(path) => address("/v1/runs/{run_id}/artifact-file", { params: { run_id: id }, query: { name: artifact.name, path, version: artifact.version, show: true } })}
    />
  );
}

/** The rows of any table; `source` tells where a browser finds a picture that a cell names by its path. */
export function Rows({
  table, artifact, pictures, worstFirst = false, values, change, source: sourceOf,
}: {
  table: Table; artifact: { name: string }; pictures: ReadonlySet<string>; worstFirst?: boolean; values: Search; change: ChangeSearch; source: (path: string) => string;
}) {
  const [open, setOpen] = useState<number | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const said = values.by;
  const descending = values.desc !== undefined ? values.desc === "1" : worstFirst;
  const by = said !== undefined ? table.columns.findIndex((column) => column.name === said) : worstFirst ? lossColumn(table) : -1;
  const find = (values.row ?? "").toLowerCase();
  const rows = useMemo(() => {
    const all = table.rows.map((_, index) => index);
    const kept = find ? all.filter((index) => table.rows[index]!.some((cell) => textOf(cell).toLowerCase().includes(find))) : all;
    return by >= 0 ? ordered(table, by, descending, kept) : kept;
  }, [table, by, descending, find]);
  const tall = table.columns.some((column) => column.kind === "picture");
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => box.current, estimateSize: () => (tall ? 100 : 33), overscan: 12 });
  const items = virtual.getVirtualItems();
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items[items.length - 1]?.end ?? 0);
  const picture = (cell: Cell) => pictureOf(cell, pictures, sourceOf);
  const sort = (name: string, index: number) => {
    const first = table.columns[index]!.kind === "number";
    if (index !== by) change({ by: name, desc: first ? "1" : "0" }, { replace: true });
    else change({ by: name, desc: descending ? "0" : "1" }, { replace: true });
  };
  const shown = open === null ? null : rows[open];
  return (
    <div className={styles.section}>
      <div className={styles.tools}>
        <SearchBox value={values.row ?? ""} onChange={(text) => change({ row: text }, { replace: true })} label="Find rows" focusKey="" />
        <span className="quiet small tabular">
          {rows.length === table.rows.length ? plural(rows.length, "row") : `${count(rows.length)} of ${plural(table.rows.length, "row")}`}, {plural(table.columns.length, "column")}
        </span>
      </div>
      <div ref={box} className={styles.file} tabIndex={0} role="region" aria-label={`Rows of ${artifact.name}`} style={{ maxHeight: "70vh" }}>
        <table className={styles.grid} aria-rowcount={rows.length + 1}>
          <thead>
            <tr>
              <th scope="col">#</th>
              {table.columns.map((column, index) => (
                <th key={index} scope="col" aria-sort={index === by ? (descending ? "descending" : "ascending") : undefined}>
                  <button type="button" className={styles.sort} onClick={() => sort(column.name, index)}>
                    {column.name}
                    {index === by ? (descending ? " ↓" : " ↑") : ""}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {before > 0 && (
              <tr aria-hidden="true">
                <td style={{ height: before, padding: 0 }} colSpan={table.columns.length + 1} />
              </tr>
            )}
            {items.map((item) => {
              const index = rows[item.index]!;
              return (
                <tr key={index} ref={virtual.measureElement} data-index={item.index} aria-rowindex={item.index + 2}>
                  <td>
                    <button type="button" className={styles.sort} aria-label={`Open row ${index + 1}`} onClick={() => setOpen(item.index)}>
                      {index + 1}
                    </button>
                  </td>
                  {table.columns.map((column, at) => (
                    <td key={at} data-kind={column.kind}>
                      <CellView cell={table.rows[index]![at] ?? null} kind={column.kind} picture={picture} label={column.name} onOpen={() => setOpen(item.index)} />
                    </td>
                  ))}
                </tr>
              );
            })}
            {after > 0 && (
              <tr aria-hidden="true">
                <td style={{ height: after, padding: 0 }} colSpan={table.columns.length + 1} />
              </tr>
            )}
          </tbody>
        </table>
      </div>
      <Dialog open={shown !== null && shown !== undefined} onClose={() => setOpen(null)} title={`Row ${(shown ?? 0) + 1}`} size="wide">
        {shown !== null && shown !== undefined && (
          <dl className={styles.pairs}>
            {table.columns.map((column, at) => {
              const cell = table.rows[shown]![at] ?? null;
              const source = isPicture(cell, pictures) ? picture(cell) : null;
              return (
                <div key={at} style={{ display: "contents" }}>
                  <dt>{column.name}</dt>
                  <dd className={source ? undefined : styles.value}>
                    {source ? <img src={source} alt={column.name} className={styles.image} /> : typeof cell === "number" ? String(cell) : textOf(cell)}
                  </dd>
                </div>
              );
            })}
          </dl>
        )}
      </Dialog>
    </div>
  );
}

function CellView({ cell, kind, picture, label, onOpen }: { cell: Cell; kind: string; picture: (cell: Cell) => string | null; label: string; onOpen: () => void }) {
  if (cell === null || cell === "") return <span className="quiet">–</span>;
  if (kind === "picture") {
    const source = picture(cell);
    if (source)
      return (
        <button type="button" className={styles.zoomable} onClick={onOpen} aria-label={`Enlarge ${label}`}>
          <img src={source} alt={label} className={styles.thumb} loading="lazy" />
        </button>
      );
  }
  if (typeof cell === "number") return <Num value={Number.isFinite(cell) ? cell : null} />;
  const text = typeof cell === "bigint" ? number(Number(cell)) : textOf(cell);
  return <span title={text.length > 120 ? text : undefined}>{text.length > 120 ? `${text.slice(0, 120)}…` : text}</span>;
}
