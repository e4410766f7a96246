import { DropdownMenu as Radix } from "radix-ui";
import type { ReactElement } from "react";

import { Icon, type IconName } from "./Icon";
import { useLayer } from "./layer";
import styles from "./ui.module.css";

export type MenuItem =
  | { label: string; onSelect: () => void; icon?: IconName; hint?: string; danger?: boolean; disabled?: boolean; /** Shows a tick: this one is on. */ checked?: boolean }
  | { heading: string }
  | "separator"
  | null
  | undefined
  | false;

/** A menu under `children`, which must be a button. */
export function Menu({ children, items, align = "start" }: { children: ReactElement; items: MenuItem[]; align?: "start" | "center" | "end" }) {
  const layer = useLayer();
  return (
    // not modal: a modal one would write a <style> into the page, which the policy forbids
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{children}</Radix.Trigger>
      <Radix.Portal container={layer}>
        <Radix.Content className={`${styles.floating} ${styles.menu}`} align={align} sideOffset={4} collisionPadding={8}>
          {items.map((item, index) => {
            if (!item) return null;
            if (item === "separator") return <Radix.Separator key={index} className={styles.separator} />;
            if ("heading" in item)
              return (
                <Radix.Label key={index} className={styles.menuLabel}>
                  {item.heading}
                </Radix.Label>
              );
            const inside = (
              <>
                {item.checked !== undefined && <span className={styles.tick}>{item.checked && <Icon name="check" size={14} />}</span>}
                {item.icon && <Icon name={item.icon} />}
                {item.label}
                {item.hint && <span className={styles.hint}>{item.hint}</span>}
              </>
            );
            const shared = {
              key: index,
              className: `${styles.item} ${item.danger ? styles.danger : ""}`,
              disabled: item.disabled,
              onSelect: item.onSelect,
            };
            const { key, ...rest } = shared;
            return item.checked === undefined ? (
              <Radix.Item key={key} {...rest}>
                {inside}
              </Radix.Item>
            ) : (
              <Radix.CheckboxItem key={key} checked={item.checked} {...rest}>
                {inside}
              </Radix.CheckboxItem>
            );
          })}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
