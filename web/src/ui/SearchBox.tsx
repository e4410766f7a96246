import { useEffect, useRef, useState, type Ref } from "react";

import { useKeys } from "@/keys";

import { Icon } from "./Icon";
import styles from "./ui.module.css";

export interface SearchBoxProps {
  value: string;
  /** Called a moment after the last key, and at once on Enter. */
  onChange: (value: string) => void;
  label: string;
  placeholder?: string;
  /** Milliseconds to wait for the next key. */
  delay?: number;
  /** A key that jumps here; "/" by default, "" for none. */
  focusKey?: string;
  ref?: Ref<HTMLInputElement>;
}

export function SearchBox({ value, onChange, label, placeholder = label, delay = 200, focusKey = "/", ref }: SearchBoxProps) {
  const [typed, setTyped] = useState(value);
  const input = useRef<HTMLInputElement>(null);
  const timer = useRef<number>(undefined);
  const sent = useRef(value);
  useEffect(() => {
    // what came from outside (Back, a saved view) is shown; what is being typed is never taken away
    if (value !== sent.current) {
      sent.current = value;
      setTyped(value);
    }
  }, [value]);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const send = (text: string) => {
    window.clearTimeout(timer.current);
    if (text === sent.current) return;
    sent.current = text;
    onChange(text);
  };
  useKeys(focusKey ? { [focusKey]: { label, run: () => input.current?.focus() } } : {});
  return (
    <div className={styles.search}>
      <Icon name="search" />
      <input
        ref={(element) => {
          input.current = element;
          if (typeof ref === "function") ref(element);
          else if (ref) ref.current = element;
        }}
        type="search" className={styles.input} aria-label={label} placeholder={placeholder} value={typed} spellCheck={false} autoComplete="off"
        onChange={(event) => {
          const text = event.target.value;
          setTyped(text);
          window.clearTimeout(timer.current);
          timer.current = window.setTimeout(() => send(text), delay);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter") send(typed);
          if (event.key === "Escape") {
            if (typed) {
              event.preventDefault();
              setTyped("");
              send("");
            } else event.currentTarget.blur();
          }
        }}
      />
      {focusKey && !typed && (
        <kbd className={`${styles.kbd} ${styles.searchKey}`} aria-hidden="true">
          {focusKey}
        </kbd>
      )}
    </div>
  );
}
