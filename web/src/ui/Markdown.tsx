// The one place that sets HTML: what marked makes of the text, cleaned by DOMPurify. Loaded with the page that needs it.
import DOMPurify from "dompurify";
import { Marked } from "marked";
import { useMemo } from "react";

import styles from "./ui.module.css";

const cleaner = DOMPurify();
cleaner.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("rel", "noopener noreferrer nofollow");
    node.setAttribute("target", "_blank");
  }
});

// raw HTML in a text is shown as it was written
const reader = new Marked({ gfm: true, breaks: true, renderer: { html: ({ text }) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;") } });

export function Markdown({ text }: { text: string }) {
  const html = useMemo(
    () =>
      cleaner.sanitize(reader.parse(text, { async: false }), {
        USE_PROFILES: { html: true },
        FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "iframe", "audio", "video", "object", "embed"],
        FORBID_ATTR: ["style", "class", "id", "name"],
      }),
    [text],
  );
  // eslint-disable-next-line no-restricted-syntax
  return <div className={styles.markdown} dangerouslySetInnerHTML={{ __html: html }} />;
}
