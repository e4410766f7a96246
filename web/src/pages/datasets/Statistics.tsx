// What was counted and measured at the commit: kinds of files, pictures, texts, the columns of tables.
import { Link } from "@tanstack/react-router";
import { useMemo, type ReactNode } from "react";

import { bytes, count, number, percent, plural } from "@/format";
import { Banner, Empty, Visible } from "@/ui";
import { EChart } from "@/ui/EChart";

import styles from "./datasets.module.css";
import { Thumbnail } from "./Files";
import { folderOf, histogramOf, numeric, record, type Histogram } from "./looks";
import type { PartProps } from "./VersionPage";

type Document = Record<string, unknown>;

function documents(value: unknown): Document[] {
  return Array.isArray(value) ? value.map(record) : [];
}
function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];
}

export default function Statistics({ dataset, version }: PartProps) {
  const said = record(version.statistics);
  const blind = dataset.blind || version.blind;
  const extensions = documents(said.extensions);
  const folders = documents(said.folders);
  const images = record(said.images);
  const words = record(said.texts);
  const tables = documents(said.tables);
  const sizes = histogramOf(said.sizes);
  const previews = record(said.previews);
  const shown = texts(previews.images);
  const heads = documents(previews.tables);
  if (!Object.keys(said).length)
    return (
      <Empty title="No statistics">
        {blind ? (
          <p>This dataset is blind: statistics are told only of ten items or more. It holds {plural(version.files, "file")} of {bytes(version.bytes)} together.</p>
        ) : (
          <p>
            They are computed by <code>larder data commit</code> and <code>larder.data.commit</code>; this version was made in another way.
          </p>
        )}
      </Empty>
    );
  return (
    <div className="stack">
      {blind && <Banner>This dataset is blind: only what is true of ten items or more is told, no extreme and no example.</Banner>}
      {texts(said.notes).map((note) => (
        <p key={note} className={`quiet small ${styles.wrap}`}>
          {note}
        </p>
      ))}
      <div className={styles.cards}>
        {extensions.length > 0 && (
          <Card title="Kinds of files">
            <Groups groups={extensions} name="extension" none="no ending" />
          </Card>
        )}
        {folders.length > 0 && (
          <Card title="Folders">
            <Groups groups={folders} name="folder" none="at the top" version={blind ? undefined : { dataset: dataset.id, version: `v${version.number}`, section: undefined }} />
          </Card>
        )}
        {sizes && (
          <Card title="Sizes of files">
            <Bars histogram={sizes} label="How many files have which size" format={bytes} />
          </Card>
        )}
      </div>
      {Object.keys(images).length > 0 && (
        <section className={styles.section} aria-label="Pictures">
          <h2>Pictures</h2>
          <p className="quiet small tabular">
            {[
              numeric(images.files) !== null && plural(images.files as number, "picture"),
              numeric(images.broken) ? `${count(images.broken as number)} broken` : "",
              ...Object.entries(record(images.formats)).map(([name, how]) => `${count(numeric(how) ?? 0)} ${name}`),
            ]
              .filter(Boolean)
              .join(" · ")}
          </p>
          {!blind && shown.length > 0 && (
            <ul className={styles.strip}>
              {shown.map((path) => (
                <li key={path}>
                  <Link
                    to="/datasets/$dataset/{-$version}/{-$section}" params={{ dataset: dataset.id, version: `v${version.number}`, section: undefined }}
                    search={{ path: folderOf(path), file: path } as never} title={path} aria-label={path}
                  >
                    <Thumbnail version={version.id} path={path} />
                  </Link>
                </li>
              ))}
            </ul>
          )}
          <div className={styles.cards}>
            <Measure title="Width, pixels" measure={record(images.width)} />
            <Measure title="Height, pixels" measure={record(images.height)} />
            {documents(images.sizes).length > 0 && (
              <Card title="Sizes of pictures">
                <Groups groups={documents(images.sizes).map((one) => ({ ...one, size: `${number(numeric(one.width) ?? 0)} × ${number(numeric(one.height) ?? 0)}` }))} name="size" none="" />
              </Card>
            )}
          </div>
        </section>
      )}
      {Object.keys(words).length > 0 && (
        <section className={styles.section} aria-label="Texts">
          <h2>Texts</h2>
          <p className="quiet small tabular">{numeric(words.files) !== null && plural(words.files as number, "text")}</p>
          <div className={styles.cards}>
            <Measure title="Characters" measure={record(words.characters)} />
            <Measure title="Lines" measure={record(words.lines)} />
          </div>
        </section>
      )}
      {tables.map((table, index) => (
        <Table key={index} table={table} head={heads.find((one) => one.path === table.path)} />
      ))}
    </div>
  );
}

function Card({ title, children }: { title: string; children: ReactNode }) {
  return (
    <figure className={styles.card} aria-label={title}>
      <figcaption>{title}</figcaption>
      {children}
    </figure>
  );
}

/** Groups by how many files they have; the longest bar is the largest group. */
function Groups({ groups, name, none, version }: { groups: Document[]; name: string; none: string; version?: { dataset: string; version: string; section: undefined } }) {
  const most = Math.max(1, ...groups.map((one) => numeric(one.files) ?? 0));
  return (
    <ul className={styles.groups}>
      {groups.slice(0, 12).map((one, index) => {
        const said = typeof one[name] === "string" ? one[name] : "";
        return (
          <li key={index}>
            <span className="clip" title={said}>
              {version && said && said !== "…" ? (
                <Link to="/datasets/$dataset/{-$version}/{-$section}" params={version} search={{ path: said } as never}>
                  {said}
                </Link>
              ) : (
                said || none
              )}
            </span>
            <span className={styles.bar} aria-hidden="true">
              <span style={{ width: `${((numeric(one.files) ?? 0) / most) * 100}%` }} />
            </span>
            <span className="tabular small">
              {count(numeric(one.files) ?? 0)}
              {numeric(one.bytes) !== null && <span className="quiet"> {bytes(one.bytes as number)}</span>}
            </span>
          </li>
        );
      })}
      {groups.length > 12 && <li className="quiet small">and {count(groups.length - 12)} more</li>}
    </ul>
  );
}

function Measure({ title, measure }: { title: string; measure: Document }) {
  const histogram = histogramOf(measure.histogram);
  const figures = figuresOf(measure);
  if (!histogram && !figures) return null;
  return (
    <Card title={title}>
      {histogram && <Bars histogram={histogram} label={`${title}: how many have which`} />}
      {figures && <p className="quiet small tabular">{figures}</p>}
    </Card>
  );
}

function figuresOf(measure: Document): string {
  const told = [["min", "least"], ["mean", "mean"], ["deviation", "deviation"], ["max", "most"]] as const;
  return told
    .filter(([name]) => numeric(measure[name]) !== null)
    .map(([name, word]) => `${word} ${number(measure[name] as number, 4)}`)
    .join(" · ");
}

/** A histogram as bars, drawn when it comes near the window. */
function Bars({ histogram, label, format = (value: number) => number(value, 4) }: { histogram: Histogram; label: string; format?: (value: number) => string }) {
  const option = useMemo(() => {
    const { edges, counts } = histogram;
    return {
      grid: { left: 8, right: 8, top: 8, bottom: 4, containLabel: true },
      xAxis: { type: "category", data: counts.map((_, at) => format(edges[at]!)), axisTick: { show: false }, axisLabel: { hideOverlap: true, fontSize: 11 } },
      yAxis: { type: "value", splitNumber: 3, minInterval: 1, axisLabel: { fontSize: 11 } },
      tooltip: {
        trigger: "axis", axisPointer: { type: "shadow" },
        formatter: (told: { dataIndex: number }[]) => {
          const at = told[0]?.dataIndex ?? 0;
          return `${format(edges[at]!)} to ${format(edges[at + 1]!)}: ${count(counts[at]!)}`;
        },
      },
      series: [{ type: "bar", data: counts, barCategoryGap: "8%", itemStyle: { color: "var(--series-1)" } }],
    };
  }, [histogram, format]);
  return (
    <Visible height={150}>
      <EChart option={option} label={label} height={150} />
    </Visible>
  );
}

function Table({ table, head }: { table: Document; head?: Document }) {
  const columns = documents(table.columns);
  const rows = numeric(table.rows);
  const path = typeof table.path === "string" ? table.path : "A table";
  return (
    <section className={styles.section} aria-label={`Table ${path}`}>
      <div className={styles.sectionHead}>
        <h2 className={styles.wrap}>{path}</h2>
        <span className="quiet small tabular">
          {[rows !== null && `${table.rows_estimated ? "about " : ""}${plural(rows, "row")}`, plural(columns.length, "column"), numeric(table.files) !== null && (table.files as number) > 1 && plural(table.files as number, "file")]
            .filter(Boolean)
            .join(" · ")}
          {numeric(table.sampled_rows) !== null && `, measured on ${plural(table.sampled_rows as number, "row")}`}
        </span>
      </div>
      <div className={styles.scroll} tabIndex={0} role="region" aria-label={`Columns of ${path}`}>
        <table className={styles.grid}>
          <thead>
            <tr>
              <th scope="col">Column</th>
              <th scope="col">Type</th>
              <th scope="col">Empty</th>
              <th scope="col">Distinct</th>
              <th scope="col">Values</th>
              <th scope="col">Distribution</th>
            </tr>
          </thead>
          <tbody>
            {columns.map((column, index) => (
              <tr key={index}>
                <th scope="row" className={styles.wrap}>
                  {String(column.name ?? "")}
                </th>
                <td>{String(column.type ?? "")}</td>
                <td className="tabular">{emptyOf(column, rows)}</td>
                <td className="tabular">{distinctOf(column)}</td>
                <td className={styles.wrap}>{valuesOf(column)}</td>
                <td>
                  <Small histogram={histogramOf(column.histogram)} label={`${String(column.name ?? "")}: distribution`} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {head && <Head head={head} path={path} />}
    </section>
  );
}

function emptyOf(column: Document, rows: number | null): string {
  const nulls = numeric(column.nulls);
  if (nulls === null) return "";
  return nulls === 0 ? "none" : rows ? `${count(nulls)} (${percent(nulls / rows)})` : count(nulls);
}

function distinctOf(column: Document): string {
  const [exact, least, most] = [numeric(column.distinct), numeric(column.distinct_least), numeric(column.distinct_most)];
  if (exact !== null) return count(exact);
  return least !== null && most !== null ? `${count(least)} to ${count(most)}` : "";
}

function valuesOf(column: Document): string {
  const top = documents(column.top);
  if (top.length)
    return top
      .slice(0, 5)
      .map((one) => `${String(one.value ?? "")} (${count(numeric(one.count) ?? 0)})`)
      .join(", ");
  const figures = figuresOf(column);
  if (figures) return figures;
  if (typeof column.min === "string" && typeof column.max === "string") return `${column.min} to ${column.max}`;
  const length = figuresOf(record(column.length));
  return length ? `characters: ${length}` : "";
}

/** A histogram as small as a word; its numbers are said to who cannot see it. */
function Small({ histogram, label }: { histogram: Histogram | null; label: string }) {
  if (!histogram) return null;
  const most = Math.max(1, ...histogram.counts);
  const width = 120 / histogram.counts.length;
  const { edges, counts } = histogram;
  return (
    <svg viewBox="0 0 120 28" width={120} height={28} role="img" aria-label={`${label}, ${number(edges[0]!)} to ${number(edges[edges.length - 1]!)}: ${counts.join(", ")}`} className={styles.small}>
      {counts.map((many, at) => {
        const height = many ? Math.max(1, (many / most) * 27) : 0;
        return (
          <rect key={at} x={at * width} y={28 - height} width={Math.max(0.5, width - 0.75)} height={height}>
            <title>{`${number(edges[at]!, 4)} to ${number(edges[at + 1]!, 4)}: ${count(many)}`}</title>
          </rect>
        );
      })}
    </svg>
  );
}

function Head({ head, path }: { head: Document; path: string }) {
  const names = texts(head.columns);
  const rows = Array.isArray(head.rows) ? (head.rows as unknown[]).filter(Array.isArray) : [];
  if (!rows.length) return null;
  return (
    <details className={styles.details}>
      <summary>Its first {plural(rows.length, "row")}</summary>
      <div className={styles.scroll} tabIndex={0} role="region" aria-label={`First rows of ${path}`}>
        <table className={styles.grid}>
          <thead>
            <tr>
              {names.map((name, index) => (
                <th key={index} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, index) => (
              <tr key={index}>
                {(row as unknown[]).map((cell, at) => (
                  <td key={at}>{cell === null ? <span className="quiet">–</span> : typeof cell === "string" ? cell : JSON.stringify(cell)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
