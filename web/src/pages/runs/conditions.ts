// Conditions as text: cut at the top-level `and`, and one facet's part of them found and changed. Pure.

/** The conditions that are joined by `and`, outside of quotes and parentheses. */
export function conjuncts(where: string): string[] {
  return cut(where, "and");
}

/** The alternatives that are joined by `or`, outside of quotes and parentheses. */
function alternatives(condition: string): string[] {
  const inner = condition.startsWith("(") && condition.endsWith(")") ? condition.slice(1, -1) : condition;
  return cut(inner, "or");
}

function cut(text: string, word: "and" | "or"): string[] {
  const pieces: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"' || character === "'" || character === "`") {
      const quote = character;
      for (at++; at < text.length && text[at] !== quote; at++) if (text[at] === "\\" && quote !== "`") at++;
    } else if (character === "(") depth++;
    else if (character === ")") depth--;
    else if (
      depth === 0 &&
      text.slice(at, at + word.length).toLowerCase() === word &&
      /[\s)]/.test(text[at - 1] ?? "x") &&
      /[\s(]/.test(text[at + word.length] ?? "x")
    ) {
      pieces.push(text.slice(start, at).trim());
      at += word.length - 1;
      start = at + 1;
    }
  }
  pieces.push(text.slice(start).trim());
  return pieces.filter(Boolean);
}

/** Join conditions, each in parentheses where an `or` in it would otherwise reach its neighbours. */
export function joined(conditions: string[]): string {
  if (conditions.length < 2) return conditions[0] ?? "";
  return conditions.map((one) => (cut(one, "or").length > 1 ? `(${one})` : one)).join(" and ");
}

/** Which values of a facet are chosen in `where`: those whose condition stands there, alone or among alternatives. */
export function chosen(where: string, of: string): string[] {
  return conjuncts(where).flatMap((one) => (isOf(one, of) ? alternatives(one) : []));
}

/** `where` without what a facet has put there. */
export function without(where: string, of: string): string {
  return joined(conjuncts(where).filter((one) => !isOf(one, of)));
}

/** `where` with one value of a facet chosen, or chosen no more. */
export function toggled(where: string, of: string, condition: string): string {
  const now = chosen(where, of);
  const next = now.includes(condition) ? now.filter((one) => one !== condition) : [...now, condition];
  const rest = conjuncts(where).filter((one) => !isOf(one, of));
  return joined([...rest, ...(next.length ? [next.length > 1 ? `(${next.join(" or ")})` : next[0]!] : [])]);
}

function isOf(condition: string, of: string): boolean {
  const begins = [`${of} = `, `${of} has `];
  const parts = alternatives(condition);
  return parts.length > 0 && parts.every((part) => begins.some((begin) => part.startsWith(begin)) && cut(part, "and").length === 1);
}
