// Colours of series: eight that colour-blind people tell apart (after Okabe and Ito), in both themes; a dash after that.
export const SERIES = 8;

/** The colour of the n-th series as a CSS value, counted from 0. */
export function seriesColour(index: number): string {
  return `var(--series-${(index % SERIES) + 1})`;
}

/** How the n-th series is dashed: solid for the first eight. */
export function seriesDash(index: number): number[] {
  return [[], [6, 4], [2, 3], [10, 4, 2, 4]][Math.floor(index / SERIES) % 4]!;
}

function preferred(id: string): number {
  let hash = 2166136261;
  for (let index = 0; index < id.length; index++) hash = Math.imul(hash ^ id.charCodeAt(index), 16777619);
  return (hash >>> 0) % SERIES;
}

const remembered = new Map<string, number>();

/** Which series each run is: the same for a run wherever it appears in this tab, different within `ids` where possible. */
export function seriesOf(ids: readonly string[]): Map<string, number> {
  const taken = new Set<number>();
  const found = new Map<string, number>();
  const settle = (id: string, index: number) => {
    found.set(id, index);
    taken.add(index);
    remembered.set(id, index);
  };
  for (const id of ids) {
    const before = remembered.get(id);
    if (before !== undefined && !taken.has(before)) settle(id, before);
  }
  for (const id of ids) {
    if (found.has(id)) continue;
    let index = preferred(id);
    for (let round = 0; taken.has(index); round++) {
      const base = Math.floor(round / SERIES) * SERIES;
      index = base + ((preferred(id) + 1 + (round % SERIES)) % SERIES);
    }
    settle(id, index);
  }
  return found;
}

/** A CSS value such as `var(--series-1)` as a canvas understands it, in the theme of now. */
export function resolveColour(colour: string): string {
  const name = /^var\((--[\w-]+)\)$/.exec(colour)?.[1];
  return name ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : colour;
}
