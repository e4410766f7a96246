// The columns of the table: what each shows, how wide it is, and where its value is found. Pure.
import { parseParts, type NameParts } from "./names";

export interface Column extends NameParts {
  width: number;
  numeric: boolean;
  pinned: boolean;
  /** The place of its value among a row's cells; null for what every row has. */
  cell: number | null;
  sortable: boolean;
}

export const NAME = "name";
/** Not a field of the runs: what a run lacks to be repeated. */
export const COMPLETE = "complete";

/** What every row has without being asked. */
const OF_ROWS = new Set(["name", "status", "project", "user", "kind", "created", "started", "ended", "duration", "tags", "commit", "archived", "published", COMPLETE]);
const UNSORTED = new Set(["tags", "notes", "code", COMPLETE]);

const WIDTHS: Record<string, number> = {
  name: 240, status: 116, project: 130, user: 96, kind: 84, created: 108, started: 108, ended: 108, duration: 104, tags: 150,
  commit: 96, complete: 132, host: 120, branch: 120, notes: 220,
};

/** The columns where nobody has chosen any: around those in which, says the server, the runs differ most. */
export function usual(withProject: boolean, telling: string[]): string[] {
  return ["status", ...(withProject ? ["project"] : []), "created", COMPLETE, ...telling, "duration", "user", "tags"];
}

/** Those of the columns that have to be asked for. */
export function asked(columns: string[]): string[] {
  return columns.filter((text) => !OF_ROWS.has(text));
}

export interface Room {
  /** A phone's screen. */
  narrow: boolean;
  /** The width of a metric: a mean with its interval, or a difference from a baseline, needs more. */
  metric: number;
}

export function laidOut(names: string[], cells: string[], widths: Record<string, number>, pinned: number, room: Room): Column[] {
  const seen = new Set<string>();
  const unique = [NAME, ...names].filter((text) => !seen.has(text) && seen.add(text));
  return unique.map((text, place) => {
    const parts = parseParts(text);
    const numeric = parts.kind === "metric" || text === "duration";
    const found = cells.indexOf(text);
    return {
      ...parts,
      numeric,
      pinned: place <= pinned,
      width: widths[text] ?? (room.narrow && text === NAME ? 160 : undefined) ?? WIDTHS[text] ?? (parts.kind === "metric" ? room.metric : 120),
      cell: OF_ROWS.has(text) ? null : found < 0 ? -1 : found,
      sortable: !UNSORTED.has(text),
    };
  });
}
