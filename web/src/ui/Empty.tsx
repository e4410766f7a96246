import type { ReactNode } from "react";

import styles from "./ui.module.css";

/** Nothing here yet, and how something comes here. */
export function Empty({ title, children, level = 2 }: { title: ReactNode; children?: ReactNode; level?: 1 | 2 | 3 }) {
  const Heading = `h${level}` as "h2";
  return (
    <section className={styles.empty}>
      <Heading>{title}</Heading>
      {children}
    </section>
  );
}
