// The names of columns as `where` writes them: params.lr, metrics."val loss".min, user. Pure.

export interface NameParts {
  text: string;
  kind: "field" | "param" | "metric" | "bare";
  /** The name alone, without prefix, quotes and statistic. */
  label: string;
  /** last, min, max, mean or count, where it says one. */
  statistic: string;
}

export const STATISTICS = ["last", "min", "max", "mean", "count"] as const;
const FIELDS = new Set([
  "archived", "branch", "cause", "code", "commit", "created", "duration", "ended", "host", "id", "kind", "name", "notes", "parent",
  "project", "published", "retries", "started", "status", "tags", "user", "complete",
]);

export function parseParts(text: string): NameParts {
  if (FIELDS.has(text)) return { text, kind: "field", label: text, statistic: "" };
  const prefix = /^(params?|metrics?)\./.exec(text);
  const kind = prefix ? (prefix[1]!.startsWith("p") ? "param" : "metric") : "bare";
  let rest = prefix ? text.slice(prefix[0].length) : text;
  let statistic = "";
  const quoted = /^(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`)/.exec(rest);
  const tail = quoted ? rest.slice(quoted[0].length) : rest;
  if (kind !== "param") {
    const end = /\.(last|min|max|mean|count)$/.exec(tail);
    if (end) {
      statistic = end[1]!;
      rest = rest.slice(0, rest.length - end[0].length);
    }
  }
  const label = quoted ? (quoted[2] ?? quoted[1]!.replace(/\\(["\\'])/g, "$1")) : rest;
  return { text, kind, label, statistic };
}

/** The same metric with another statistic. */
export function withStatistic(parts: NameParts, statistic: string): string {
  const base = parts.statistic ? parts.text.slice(0, -parts.statistic.length - 1) : parts.text;
  return statistic === "last" ? base : `${base}.${statistic}`;
}
