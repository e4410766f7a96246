// The same question in other languages, each of which answers the same rows. Pure.
import { writeSort, type TableState } from "./state";

type Asked = Pick<TableState, "where" | "text" | "sort" | "archived"> & { project: string };

function given({ project, where, text, sort, archived }: Asked, limit: number): [string, string | number | boolean][] {
  const all: [string, string | number | boolean][] = [
    ["project", project], ["where", where], ["text", text], ["order_by", writeSort(sort)], ["limit", limit], ["archived", archived],
  ];
  return all.filter(([, value]) => value !== "" && value !== false);
}

function python(text: string): string {
  const body = text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n").replace(/\r/g, "\\r").replace(/\t/g, "\\t");
  return `"${body}"`;
}

/** A word of a shell's line, quoted where it has to be. */
export function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\"'\"'")}'`;
}

export function asPython(asked: Asked, limit: number): string {
  const words = given(asked, limit).map(([name, value]) => `${name}=${typeof value === "string" ? python(value) : value === true ? "True" : value}`);
  return `import larder\n\nruns = larder.runs(${words.join(", ")})`;
}

export function asCommand(asked: Asked, limit: number): string {
  const options: Record<string, string> = { project: "--project", where: "--where", order_by: "--sort", limit: "--limit" };
  const words = ["larder", "runs", "ls"];
  for (const [name, value] of given(asked, limit)) {
    if (options[name]) words.push(`${options[name]}=${value}`);
    if (name === "archived") words.push("--archived");
  }
  if (asked.text) words.push("--", asked.text);
  return words.map(shell).join(" ");
}

export function asCurl(asked: Asked, limit: number, origin: string): string {
  const query = new URLSearchParams(given(asked, limit).map(([name, value]) => [name, String(value)])).toString();
  return `curl -H "Authorization: Bearer $LARDER_TOKEN" ${shell(`${origin}/v1/runs?${query}`)}`;
}
