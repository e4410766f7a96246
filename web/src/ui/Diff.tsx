import { useMemo } from "react";

import styles from "./ui.module.css";

interface Line {
  kind: "file" | "hunk" | "added" | "removed" | "same";
  text: string;
  before?: number;
  after?: number;
}

/** A unified diff as lines: which were added, which removed, with their numbers. */
export function parseDiff(diff: string): Line[] {
  const lines: Line[] = [];
  let before = 0;
  let after = 0;
  // lines that the hunk still owes: inside a hunk, "--- x" is a removed line and not a header
  let oldLeft = 0;
  let newLeft = 0;
  let from = "";
  for (const text of diff.replace(/\n$/, "").split("\n")) {
    const hunk = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(text);
    if (oldLeft > 0 || newLeft > 0) {
      if (text.startsWith("+")) {
        lines.push({ kind: "added", text: text.slice(1), after: after++ });
        newLeft--;
        continue;
      }
      if (text.startsWith("-")) {
        lines.push({ kind: "removed", text: text.slice(1), before: before++ });
        oldLeft--;
        continue;
      }
      if (text.startsWith(" ") || text === "") {
        lines.push({ kind: "same", text: text.slice(1), before: before++, after: after++ });
        oldLeft--;
        newLeft--;
        continue;
      }
    }
    if (hunk) {
      before = Number(hunk[1]);
      after = Number(hunk[3]);
      oldLeft = Number(hunk[2] ?? 1);
      newLeft = Number(hunk[4] ?? 1);
      lines.push({ kind: "hunk", text });
    } else if (text.startsWith("--- ")) {
      from = named(text.slice(4));
    } else if (text.startsWith("+++ ")) {
      const to = named(text.slice(4));
      lines.push({ kind: "file", text: to === "/dev/null" ? `${from} (removed)` : from === "/dev/null" ? `${to} (new)` : to });
    } else if (/^Binary files|^GIT binary patch|^rename |^similarity |^deleted file|^new file/.test(text)) {
      lines.push({ kind: "hunk", text });
    }
  }
  return lines;
}

function named(text: string): string {
  return text.split("\t")[0]!.replace(/^[ab]\//, "");
}

const marks = { added: "+", removed: "−", same: " ", hunk: "", file: "" };

/** A unified diff as coloured lines. Very long ones are cut, and say so. */
export function Diff({ text, label = "Differences", most = 3000 }: { text: string; label?: string; most?: number }) {
  const lines = useMemo(() => parseDiff(text), [text]);
  return (
    <div className={styles.diff} role="region" aria-label={label} tabIndex={0}>
      <table>
        <tbody>
          {lines.slice(0, most).map((line, index) =>
            line.kind === "file" || line.kind === "hunk" ? (
              <tr key={index} className={line.kind === "file" ? styles.diffFile : styles.hunk}>
                <td colSpan={4}>{line.text}</td>
              </tr>
            ) : (
              <tr key={index} className={line.kind === "same" ? undefined : styles[line.kind]}>
                <td className={styles.numberCell}>{line.before}</td>
                <td className={styles.numberCell}>{line.after}</td>
                <td className={styles.numberCell} aria-label={line.kind === "same" ? undefined : line.kind}>
                  {marks[line.kind]}
                </td>
                <td>{line.text}</td>
              </tr>
            ),
          )}
        </tbody>
      </table>
      {lines.length > most && <p className="quiet small">{(lines.length - most).toLocaleString("en")} more lines are not shown.</p>}
    </div>
  );
}
