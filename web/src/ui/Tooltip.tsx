import { Tooltip as Radix } from "radix-ui";
import type { ReactElement, ReactNode } from "react";

import { useLayer } from "./layer";
import styles from "./ui.module.css";

/** Words for what is pointed at or focused. Never the only place where something is said. */
export function Tooltip({ text, children, side = "bottom" }: { text: ReactNode; children: ReactElement; side?: "top" | "bottom" | "left" | "right" }) {
  const layer = useLayer();
  return (
    <Radix.Provider delayDuration={350} skipDelayDuration={200}>
      <Radix.Root>
        <Radix.Trigger asChild>{children}</Radix.Trigger>
        <Radix.Portal container={layer}>
          <Radix.Content className={styles.tooltip} side={side} sideOffset={6} collisionPadding={8}>
            {text}
          </Radix.Content>
        </Radix.Portal>
      </Radix.Root>
    </Radix.Provider>
  );
}
