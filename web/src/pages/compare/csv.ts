// The comparison as CSV, for a sheet; a text that a sheet would take for a formula gets a quote before it.
import type { Comparison } from "./data";
import { labels, STATISTICS } from "./data";

export function csv(comparison: Comparison): string {
  const { runs } = comparison;
  const names = labels(runs);
  const lines: unknown[][] = [["what", ...runs.map((run) => names.get(run.id))]];
  lines.push(["id", ...runs.map((run) => run.id)], ["status", ...runs.map((run) => run.status)]);
  for (const row of comparison.params) lines.push([`params.${row.name}`, ...row.values]);
  for (const row of comparison.metrics)
    for (const statistic of STATISTICS) lines.push([`metrics.${row.name}.${statistic}`, ...row.summaries.map((one) => one?.[statistic])]);
  for (const row of comparison.facts) lines.push([`facts.${row.name}`, ...row.values]);
  for (const row of comparison.packages) lines.push([`packages.${row.name}`, ...row.values]);
  return `${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function download(text: string, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
