import type { ReactNode } from "react";

import { Problem } from "@/api/client";

import { Icon, type IconName } from "./Icon";
import styles from "./ui.module.css";

const icons: Record<string, IconName> = { info: "info", warn: "warning", bad: "warning", good: "check" };

export function Banner({ kind = "info", children, actions }: { kind?: "info" | "warn" | "bad" | "good"; children: ReactNode; actions?: ReactNode }) {
  return (
    <div className={`${styles.banner} ${styles[kind]}`} role={kind === "bad" ? "alert" : "status"}>
      <Icon name={icons[kind]!} />
      <span>{children}</span>
      {actions && <span className="push">{actions}</span>}
    </div>
  );
}

/** Why something could not be shown, in the server's words. */
export function ProblemBanner({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = error instanceof Problem ? error : null;
  return (
    <Banner
      kind="bad"
      actions={
        retry && (
          <button type="button" className={`${styles.button} ${styles.smallButton}`} onClick={retry}>
            Try again
          </button>
        )
      }
    >
      {problem ? problem.message : `This page failed: ${error instanceof Error ? error.message : String(error)}`}
      {problem?.hint && <span className="quiet"> {problem.hint}</span>}
    </Banner>
  );
}
