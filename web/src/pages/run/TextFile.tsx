import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef } from "react";

import styles from "./run.module.css";

/** A text with the numbers of its lines; only those in view are in the page. */
export function TextFile({ text, label }: { text: string; label: string }) {
  const box = useRef<HTMLDivElement>(null);
  const lines = useMemo(() => text.replace(/\r?\n$/, "").split(/\r?\n/), [text]);
  const virtual = useVirtualizer({ count: lines.length, getScrollElement: () => box.current, estimateSize: () => 21.6, overscan: 40 });
  const items = virtual.getVirtualItems();
  return (
    <div ref={box} className={styles.file} tabIndex={0} role="region" aria-label={label}>
      <div className={styles.rows} style={{ height: virtual.getTotalSize(), "--digits": `${String(lines.length).length}ch` } as React.CSSProperties}>
        {items.map((item) => (
          <div key={item.key} className={styles.line} style={{ transform: `translateY(${item.start}px)` }}>
            <span className={styles.lineNumber}>{item.index + 1}</span>
            <span className={styles.text}>{lines[item.index]}</span>
          </div>
        ))}
      </div>
    </div>
  );
}
