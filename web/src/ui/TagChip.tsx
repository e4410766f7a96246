import styles from "./ui.module.css";

/** A tag; with `onClick` it filters, with `onRemove` it can be taken away. */
export function TagChip({ tag, onClick, onRemove }: { tag: string; onClick?: () => void; onRemove?: () => void }) {
  return (
    <span className={styles.chip} title={tag}>
      {onClick ? (
        <button type="button" onClick={onClick}>
          {tag}
        </button>
      ) : (
        <span>{tag}</span>
      )}
      {onRemove && (
        <button type="button" className={styles.chipRemove} aria-label={`Remove the tag ${tag}`} onClick={onRemove}>
          ×
        </button>
      )}
    </span>
  );
}
