// What a file of a version can be shown as, by the ending of its path; and texts for other programs. Pure.
export type Look = "image" | "table" | "markdown" | "text" | "none";

const TEXT =
  /^(txt|text|log|rst|json|jsonl|ndjson|geojson|ya?ml|toml|ini|cfg|conf|xml|html?|py|sh|sql|diff|patch|r|js|ts|css|c|h|cpp|java|go|rs|ipynb|tex|srt|vtt|license|readme|gitignore)$/;

export function endingOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return (name.includes(".") ? name.slice(name.lastIndexOf(".") + 1) : name).toLowerCase();
}

export function lookOf(path: string): Look {
  const ending = endingOf(path);
  if (/^(png|jpe?g|gif|webp|avif|bmp|svg)$/.test(ending)) return "image";
  if (/^(csv|tsv|parquet)$/.test(ending)) return "table";
  if (ending === "md") return "markdown";
  return TEXT.test(ending) ? "text" : "none";
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

export function folderOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

/** A text of Python, whatever characters it has. */
export function python(text: string): string {
  return `"${text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n").replace(/\r/g, "\\r").replace(/\t/g, "\\t")}"`;
}

/** What JSON holds as a record of values; empty where it is none. */
export function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

export function numeric(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

export interface Histogram {
  edges: number[];
  counts: number[];
}

/** A histogram as a commit writes it: one edge more than counts; null where it is none. */
export function histogramOf(value: unknown): Histogram | null {
  const { edges, counts } = record(value);
  if (!Array.isArray(edges) || !Array.isArray(counts) || !counts.length || edges.length !== counts.length + 1) return null;
  const all = [...edges, ...counts];
  return all.every((one) => typeof one === "number" && Number.isFinite(one)) ? { edges: edges as number[], counts: counts as number[] } : null;
}
