// Tables that runs have logged, read in the browser: CSV and Parquet.
export type Cell = string | number | boolean | null | Uint8Array | Date | bigint | object;

export interface Column {
  name: string;
  kind: "number" | "text" | "picture";
}

export interface Table {
  columns: Column[];
  rows: Cell[][];
}

export const LARGEST = 64_000_000;

export async function read(data: ArrayBuffer, format: string, pictures: ReadonlySet<string>): Promise<Table> {
  const { names, rows } = format === "parquet" ? await parquet(data) : csv(new TextDecoder().decode(data), format === "tsv" ? "\t" : ",");
  const columns = names.map((name, index): Column => ({ name, kind: kindOf(rows, index, pictures) }));
  columns.forEach((column, index) => {
    if (column.kind === "number") for (const row of rows) if (typeof row[index] === "string") row[index] = row[index] === "" ? null : numberOf(row[index]);
  });
  return { columns, rows };
}

async function parquet(data: ArrayBuffer): Promise<{ names: string[]; rows: Cell[][] }> {
  const [{ parquetMetadataAsync, parquetReadObjects, parquetSchema }, { decompress }] = await Promise.all([import("hyparquet"), import("fzstd")]);
  const metadata = await parquetMetadataAsync(data);
  const names = parquetSchema(metadata).children.map((child) => child.element.name).filter((name) => !/^__index_level_\d+__$/.test(name));
  const found = await parquetReadObjects({ file: data, metadata, columns: names, utf8: false, compressors: { ZSTD: (input) => decompress(input) } });
  return { names, rows: found.map((row) => names.map((name) => (row as Record<string, Cell>)[name] ?? null)) };
}

/** RFC 4180: quotes hold separators, line ends and doubled quotes. */
export function csv(text: string, separator: string): { names: string[]; rows: Cell[][] } {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const end = text.length;
  while (at < end) {
    let cell = "";
    if (text[at] === '"') {
      at += 1;
      for (;;) {
        const close = text.indexOf('"', at);
        if (close < 0) {
          cell += text.slice(at);
          at = end;
          break;
        }
        cell += text.slice(at, close);
        at = close + 1;
        if (text[at] !== '"') break;
        cell += '"';
        at += 1;
      }
    }
    let stop = at;
    while (stop < end && text[stop] !== separator && text[stop] !== "\n" && text[stop] !== "\r") stop += 1;
    cell += text.slice(at, stop);
    at = stop;
    row.push(cell);
    if (text[at] === separator) {
      at += 1;
      if (at === end) row.push("");
      continue;
    }
    if (text[at] === "\r") at += 1;
    if (text[at] === "\n") at += 1;
    rows.push(row);
    row = [];
  }
  if (row.length) rows.push(row);
  const names = rows.shift() ?? [];
  return { names, rows: rows.map((one) => names.map((_, index) => one[index] ?? "")) };
}

function numberOf(text: string): number | null {
  const bare = text.trim().toLowerCase();
  if (bare === "nan") return NaN;
  if (/^[-+]?inf(inity)?$/.test(bare)) return bare.startsWith("-") ? -Infinity : Infinity;
  return bare === "" || !/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/.test(bare) ? null : Number(bare);
}

function kindOf(rows: Cell[][], index: number, pictures: ReadonlySet<string>): Column["kind"] {
  let numbers = 0;
  let said = 0;
  for (const row of rows.slice(0, 2000)) {
    const cell = row[index];
    if (cell === null || cell === undefined || cell === "") continue;
    said += 1;
    if (isPicture(cell, pictures)) return "picture";
    if (typeof cell === "number" || typeof cell === "bigint" || (typeof cell === "string" && numberOf(cell) !== null)) numbers += 1;
    else return "text";
  }
  return said > 0 && numbers === said ? "number" : "text";
}

const SIGNATURES: [number[], string][] = [
  [[0x89, 0x50, 0x4e, 0x47], "image/png"], [[0xff, 0xd8, 0xff], "image/jpeg"], [[0x47, 0x49, 0x46, 0x38], "image/gif"], [[0x52, 0x49, 0x46, 0x46], "image/webp"],
];

function bytesOf(cell: Cell): Uint8Array | null {
  if (cell instanceof Uint8Array) return cell;
  const inner = typeof cell === "object" && cell !== null ? (cell as Record<string, unknown>).bytes : null;
  return inner instanceof Uint8Array ? inner : null;
}

function mediaOf(cell: Cell): string | null {
  const bytes = bytesOf(cell);
  return bytes ? (SIGNATURES.find(([signature]) => signature.every((byte, index) => bytes[index] === byte))?.[1] ?? null) : null;
}

export function isPicture(cell: Cell, pictures: ReadonlySet<string>): boolean {
  if (typeof cell === "string") return pictures.has(cell) || /^data:image\/(png|jpeg|gif|webp);base64,/.test(cell);
  return mediaOf(cell) !== null;
}

/** Where a browser finds the picture of a cell; `file` tells the address of a file of the artifact. */
export function pictureOf(cell: Cell, pictures: ReadonlySet<string>, file: (path: string) => string): string | null {
  if (typeof cell === "string") return pictures.has(cell) ? file(cell) : isPicture(cell, pictures) ? cell : null;
  const media = mediaOf(cell);
  if (!media) return null;
  let binary = "";
  for (const byte of bytesOf(cell)!) binary += String.fromCharCode(byte);
  return `data:${media};base64,${btoa(binary)}`;
}

export function textOf(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "string") return cell;
  if (cell instanceof Date) return cell.toISOString().replace(/T00:00:00\.000Z$/, "").replace(".000Z", "Z");
  if (cell instanceof Uint8Array) return `${cell.length} bytes`;
  if (typeof cell === "object") return JSON.stringify(cell, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value instanceof Uint8Array ? `${value.length} bytes` : value));
  return String(cell);
}

/** The places of the rows in the order of a column; what is missing comes last in both directions. */
export function ordered(table: Table, column: number, descending: boolean, kept: readonly number[]): number[] {
  const number = table.columns[column]?.kind === "number";
  const missing = (cell: Cell | undefined) => cell === null || cell === undefined || cell === "" || (typeof cell === "number" && Number.isNaN(cell));
  return [...kept].sort((a, b) => {
    const x = table.rows[a]![column];
    const y = table.rows[b]![column];
    if (missing(x) || missing(y)) return Number(missing(x)) - Number(missing(y)) || a - b;
    const by = number ? Number(x) - Number(y) : textOf(x).localeCompare(textOf(y), undefined, { numeric: true });
    return (descending ? -by : by) || a - b;
  });
}
