// The browser's own dialog: it keeps the focus, closes on Escape, and makes the rest of the page inert.
import { useEffect, useId, useRef, useState, type ReactNode } from "react";

import { IconButton } from "./Button";
import { LayerContext } from "./layer";
import styles from "./ui.module.css";

export interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: ReactNode;
  children: ReactNode;
  /** Buttons, the main one last. */
  actions?: ReactNode;
  size?: "normal" | "wide" | "side";
  /** Called on Enter in a field and by a button of type submit; makes the body a form. */
  onSubmit?: () => void;
}

export function Dialog({ open, ...rest }: DialogProps) {
  return open ? <OpenDialog {...rest} /> : null;
}

function OpenDialog({ onClose, title, children, actions, size = "normal", onSubmit }: Omit<DialogProps, "open">) {
  const ref = useRef<HTMLDialogElement>(null);
  const [layer, setLayer] = useState<HTMLElement | null>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement;
    if (!dialog.open) dialog.showModal();
    // the browser would begin with the button that closes it
    dialog.querySelector<HTMLElement>("[data-focus]")?.focus();
    setLayer(dialog);
    return () => {
      dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const inside = (
    <>
      <div className={styles.dialogBody}>{children}</div>
      {actions && <div className={styles.dialogFoot}>{actions}</div>}
    </>
  );
  return (
    <dialog
      ref={ref}
      className={[styles.dialog, size === "wide" && styles.wide, size === "side" && styles.side].filter(Boolean).join(" ")}
      aria-labelledby={heading}
      onCancel={(event) => {
        if (event.target !== ref.current) return;
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        // only the backdrop belongs to the dialog itself
        if (event.target === ref.current) onClose();
      }}
    >
      <LayerContext value={layer}>
        <div className={styles.dialogHead}>
          <h2 id={heading}>{title}</h2>
          <IconButton icon="close" label="Close" onClick={onClose} tooltip={false} />
        </div>
        {onSubmit ? (
          <form
            method="dialog"
            onSubmit={(event) => {
              event.preventDefault();
              event.stopPropagation();
              onSubmit();
            }}
          >
            {inside}
          </form>
        ) : (
          inside
        )}
      </LayerContext>
    </dialog>
  );
}

/** A question before something that cannot be undone. */
export function Confirm({
  open, title, children, action, danger = true, busy = false, onConfirm, onClose,
}: {
  open: boolean; title: ReactNode; children?: ReactNode; action: string; danger?: boolean; busy?: boolean; onConfirm: () => void; onClose: () => void;
}) {
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title={title}
      actions={
        <>
          <button type="button" className={styles.button} onClick={onClose}>
            Cancel
          </button>
          <button type="button" className={`${styles.button} ${danger ? styles.danger : styles.primary}`} disabled={busy} onClick={onConfirm}>
            {action}
          </button>
        </>
      }
    >
      {children}
    </Dialog>
  );
}
