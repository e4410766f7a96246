import { Popover as Radix } from "radix-ui";
import type { ReactElement, ReactNode } from "react";

import { useLayer } from "./layer";
import styles from "./ui.module.css";

/** A small panel under `trigger`, which must be a button; `label` names it for screen readers. */
export function Popover({
  trigger, children, label, open, onOpenChange, align = "start", side = "bottom",
}: {
  trigger: ReactElement; children: ReactNode; label: string;
  open?: boolean; onOpenChange?: (open: boolean) => void; align?: "start" | "center" | "end"; side?: "top" | "bottom" | "left" | "right";
}) {
  const layer = useLayer();
  return (
    <Radix.Root open={open} onOpenChange={onOpenChange}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal container={layer}>
        <Radix.Content className={`${styles.floating} ${styles.popover}`} aria-label={label} align={align} side={side} sideOffset={4} collisionPadding={8}>
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
/** Closes the popover it stands in: `<PopoverClose asChild><Button>…</Button></PopoverClose>`. */
export const PopoverClose = Radix.Close;
