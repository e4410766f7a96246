import { useId, type InputHTMLAttributes, type ReactNode, type Ref, type SelectHTMLAttributes, type TextareaHTMLAttributes } from "react";

import styles from "./ui.module.css";

export interface FieldAria {
  id: string;
  "aria-describedby"?: string;
  "aria-invalid"?: boolean;
}

/** A labelled field with its hint and its error; `children` gets what ties them together. */
export function Field({ label, hint, error, hideLabel = false, children }: { label: ReactNode; hint?: ReactNode; error?: ReactNode; hideLabel?: boolean; children: (aria: FieldAria) => ReactNode }) {
  const id = useId();
  const described = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={hideLabel ? "hidden" : styles.fieldLabel}>
        {label}
      </label>
      {children({ id, "aria-describedby": described || undefined, "aria-invalid": error ? true : undefined })}
      {error && (
        <span id={`${id}-error`} className={styles.fieldError} role="alert">
          {error}
        </span>
      )}
      {hint && (
        <span id={`${id}-hint`} className={styles.fieldHint}>
          {hint}
        </span>
      )}
    </div>
  );
}

export function Input({ className, ref, ...rest }: InputHTMLAttributes<HTMLInputElement> & { ref?: Ref<HTMLInputElement> }) {
  return <input ref={ref} autoComplete="off" {...rest} className={[styles.input, className].filter(Boolean).join(" ")} />;
}
export function TextArea({ className, ref, ...rest }: TextareaHTMLAttributes<HTMLTextAreaElement> & { ref?: Ref<HTMLTextAreaElement> }) {
  return <textarea ref={ref} {...rest} className={[styles.input, className].filter(Boolean).join(" ")} />;
}
export function Select({ className, ref, ...rest }: SelectHTMLAttributes<HTMLSelectElement> & { ref?: Ref<HTMLSelectElement> }) {
  return <select ref={ref} {...rest} className={[styles.input, className].filter(Boolean).join(" ")} />;
}
/** A tick box with its words; without `label` give it an `aria-label`. */
export function Checkbox({ label, ref, ...rest }: InputHTMLAttributes<HTMLInputElement> & { label?: ReactNode; ref?: Ref<HTMLInputElement> }) {
  const box = <input ref={ref} type="checkbox" {...rest} className={styles.check} />;
  return label ? (
    <label className="row small">
      {box}
      {label}
    </label>
  ) : (
    box
  );
}
