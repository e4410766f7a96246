import { useState } from "react";

import { Button, IconButton } from "./Button";
import { Menu } from "./Menu";
import { toast } from "./toast";
import styles from "./ui.module.css";

/** Put a text on the clipboard; whether that worked. Also where there is no secure context. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.className = "hidden";
    (document.querySelector("dialog:modal") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

async function copyAndSay(text: string, what: string): Promise<void> {
  const done = await copyText(text);
  toast(done ? { text: `Copied ${what}` } : { text: "The browser does not let this page copy", bad: true });
}

export function CopyButton({ text, label = "Copy", what = "" }: { text: string | (() => string); label?: string; what?: string }) {
  const [done, setDone] = useState(false);
  return (
    <IconButton
      icon={done ? "check" : "copy"} size="small" label={done ? "Copied" : what ? `${label} ${what}` : label}
      onClick={async () => {
        setDone(await copyText(typeof text === "function" ? text() : text));
        setTimeout(() => setDone(false), 1500);
      }}
    />
  );
}

/** The same question in another language: a menu of Python, command line and curl. */
export function CopyAs({ python, cli, curl, label = "Copy as" }: { python?: string; cli?: string; curl?: string; label?: string }) {
  return (
    <Menu
      items={[
        python !== undefined && { label: "Python", onSelect: () => void copyAndSay(python, "as Python") },
        cli !== undefined && { label: "Command line", onSelect: () => void copyAndSay(cli, "as a command") },
        curl !== undefined && { label: "curl", onSelect: () => void copyAndSay(curl, "as curl") },
      ]}
    >
      <Button icon="copy">{label}</Button>
    </Menu>
  );
}

/** Lines to take along, with a button that copies them. */
export function Code({ children, label = "Code" }: { children: string; label?: string }) {
  return (
    <div className={styles.code}>
      <pre tabIndex={0} role="region" aria-label={label}>
        <code>{children}</code>
      </pre>
      <span className={styles.copy}>
        <CopyButton text={children} />
      </span>
    </div>
  );
}
