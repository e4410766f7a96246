import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";

import { Icon, type IconName } from "./Icon";
import { Tooltip } from "./Tooltip";
import styles from "./ui.module.css";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "plain" | "primary" | "quiet" | "danger";
  size?: "normal" | "small";
  icon?: IconName;
  children?: ReactNode;
  ref?: Ref<HTMLButtonElement>;
}

export function buttonClass({ kind = "plain", size = "normal", iconOnly = false }: { kind?: ButtonProps["kind"]; size?: ButtonProps["size"]; iconOnly?: boolean } = {}): string {
  return [
    styles.button,
    kind === "primary" && styles.primary,
    kind === "quiet" && styles.quietButton,
    kind === "danger" && styles.danger,
    size === "small" && styles.smallButton,
    iconOnly && styles.icon,
  ]
    .filter(Boolean)
    .join(" ");
}

export function Button({ kind, size, icon, children, className, ref, ...rest }: ButtonProps) {
  return (
    <button ref={ref} type="button" className={[buttonClass({ kind, size }), className].filter(Boolean).join(" ")} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export interface IconButtonProps extends Omit<ButtonProps, "children" | "icon"> {
  icon: IconName;
  /** What it does, for those who do not see the sign; also the tooltip. */
  label: string;
  /** A key that does the same, shown in the tooltip. */
  shortcut?: string;
  tooltip?: boolean;
}

export function IconButton({ icon, label, shortcut, kind = "quiet", size, className, tooltip = true, ref, ...rest }: IconButtonProps) {
  const button = (
    <button
      ref={ref} type="button" aria-label={label} {...rest}
      className={[buttonClass({ kind, size, iconOnly: true }), className].filter(Boolean).join(" ")}
    >
      <Icon name={icon} />
    </button>
  );
  return tooltip ? <Tooltip text={shortcut ? `${label} (${shortcut})` : label}>{button}</Tooltip> : button;
}
