// What the names of metrics say: which way is better, which belong into one chart, which are worth a first look.

const LOWER = new Set(["loss", "mae", "mse", "rmse", "error", "err", "mape", "wape", "smape", "mase", "wrmsse", "perplexity", "logloss", "l1", "l2"]);
const HIGHER = new Set(["acc", "accuracy", "auc", "f1", "score", "r2", "precision", "recall", "ndcg", "map", "dice", "iou", "bleu", "rouge"]);
const SPLITS = new Set(["train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev", "holdout"]);
const RANK = /^rank\.(\d+)\//;

function words(name: string): string[] {
  const said = name.toLowerCase().split(/[/\-. ]+/);
  return [...said, ...said.flatMap((word) => word.split("_"))];
}

/** Whether small values are good ones; null when the name does not say. */
export function lowerIsBetter(name: string): boolean | null {
  const said = words(name);
  if (said.some((word) => LOWER.has(word))) return true;
  return said.some((word) => HIGHER.has(word)) ? false : null;
}

export function rankOf(name: string): number {
  return Number(RANK.exec(name)?.[1] ?? 0);
}

export function withoutRank(name: string): string {
  return name.replace(RANK, "");
}

/** Series that tell of the machine, not of the work. */
export function isLoad(name: string): boolean {
  return withoutRank(name).startsWith("system/");
}

/** The few metrics to talk about first: those of validation and test, with a known direction, before the others. */
export function mainMetrics(names: readonly string[], most = 4): string[] {
  const weight = (name: string) => {
    const said = words(name);
    let points = 0;
    if (said.some((word) => SPLITS.has(word) && !word.startsWith("train"))) points -= 4;
    if (lowerIsBetter(name) !== null) points -= 3;
    if (said.some((word) => word.startsWith("train"))) points += 1;
    if (/seconds|time|epoch|lr\b|learning_rate|step/.test(name)) points += 6;
    return points;
  };
  return names
    .filter((name) => !isLoad(name) && !rankOf(name))
    .map((name, index) => ({ name, index, points: weight(name) }))
    .sort((a, b) => a.points - b.points || a.index - b.index)
    .slice(0, most)
    .map((one) => one.name);
}

export interface ChartGroup {
  /** What the series have in common; the chart's title. */
  title: string;
  section: string;
  names: string[];
}

/** Which chart a series belongs to: train/loss, val/loss and test_loss are one, and so are the ranks of a job. */
function placeOf(name: string): { section: string; title: string } {
  const parts = withoutRank(name).split("/");
  const split = parts.findIndex((part) => SPLITS.has(part.toLowerCase()) || /^valid_\d+$/.test(part));
  if (split >= 0 && parts.length > 1) parts.splice(split, 1);
  else {
    const last = parts[parts.length - 1]!;
    const found = /^([a-z]+)[_.-](.+)$/i.exec(last) ?? null;
    const tail = /^(.+)[_.-]([a-z]+)$/i.exec(last) ?? null;
    if (found && SPLITS.has(found[1]!.toLowerCase())) parts[parts.length - 1] = found[2]!;
    else if (tail && SPLITS.has(tail[2]!.toLowerCase())) parts[parts.length - 1] = tail[1]!;
  }
  return { section: sectionOf(parts), title: parts.join("/") };
}

function sectionOf(parts: readonly string[]): string {
  return parts.length > 1 ? parts[0]! : "";
}

export function chartGroups(names: readonly string[], { together }: { together: boolean }): { section: string; charts: ChartGroup[] }[] {
  const charts = new Map<string, ChartGroup>();
  for (const name of names) {
    const place = together ? placeOf(name) : { section: sectionOf(withoutRank(name).split("/")), title: withoutRank(name) };
    const chart = charts.get(place.title);
    if (chart) chart.names.push(name);
    else charts.set(place.title, { ...place, names: [name] });
  }
  const sections = new Map<string, ChartGroup[]>();
  for (const chart of charts.values()) sections.set(chart.section, [...(sections.get(chart.section) ?? []), chart]);
  return [...sections]
    .sort(([a], [b]) => (a === "" ? -1 : b === "" ? 1 : a.localeCompare(b)))
    .map(([section, all]) => ({ section, charts: all.sort((a, b) => a.title.localeCompare(b.title, undefined, { numeric: true })) }));
}

/** An exponential moving average that starts at the first value, as if it had always been so; gaps stay gaps. */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  let mean = 0;
  let mass = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return null;
    mean = mean * weight + value * (1 - weight);
    mass = mass * weight + (1 - weight);
    // without the last digits, of which a constant would make a noise
    return Number((mean / mass).toPrecision(12));
  });
}
