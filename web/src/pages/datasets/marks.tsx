// Small signs that stand for something on every page of data.
import { count, plural } from "@/format";
import { Icon, Tooltip } from "@/ui";

import type { Version } from "./data";
import styles from "./datasets.module.css";

export const WHY_BLIND =
  "This dataset is blind, so that nothing is tuned to it: only a token with the evaluator right reads its items. Everybody sees counts, and statistics over ten items or more.";

export function Blind() {
  return (
    <Tooltip text={WHY_BLIND}>
      <span className={styles.blind} tabIndex={0}>
        <Icon name="moon" size={12} />
        blind
      </span>
    </Tooltip>
  );
}

/** An alias, and, in a list, where it points. */
export function AliasMark({ alias, number }: { alias: string; number?: number }) {
  return (
    <span className={styles.alias} title={alias}>
      <Icon name="pin" size={12} />
      <span className="clip">{alias}</span>
      {number !== undefined && <span className="tabular"> v{number}</span>}
    </span>
  );
}

/** What a version added, removed and changed against its first parent. */
export function Changes({ version }: { version: Pick<Version, "added" | "removed" | "changed"> }) {
  const { added, removed, changed } = version;
  const words = `${plural(added, "file")} added, ${count(removed)} removed, ${count(changed)} changed`;
  if (!added && !removed && !changed) return <span className="quiet">no file changed</span>;
  return (
    <span className={`tabular ${styles.changes}`} title={words} role="img" aria-label={words}>
      {added > 0 && <span data-kind="added">+{count(added)}</span>}
      {removed > 0 && <span data-kind="removed">−{count(removed)}</span>}
      {changed > 0 && <span data-kind="changed">~{count(changed)}</span>}
    </span>
  );
}
