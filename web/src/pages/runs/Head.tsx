// The heads of the columns: sort, move, widen, pin, choose a statistic, group.
import { useRef, useState, type DragEvent, type KeyboardEvent, type PointerEvent } from "react";

import { Icon, Menu, type MenuItem } from "@/ui";

import { title } from "./ColumnPicker";
import { COMPLETE, NAME, type Column } from "./columns";
import { STATISTICS, withStatistic } from "./names";
import styles from "./runs.module.css";
import type { ChangeState, SortKey, TableState } from "./state";

export interface HeadProps {
  columns: Column[];
  state: TableState;
  /** The columns after the name, as they stand now. */
  names: string[];
  change: ChangeState;
  offsets: number[];
  ticked: "all" | "some" | "none";
  onTickAll: () => void;
  /** In groups, only these can be sorted by. */
  grouped: boolean;
  template: string;
}

export function Head({ columns, state, names, change, offsets, ticked, onTickAll, grouped, template }: HeadProps) {
  const box = useRef<HTMLInputElement>(null);
  return (
    <div className={styles.head} role="row" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
      <div role="columnheader" className={`${styles.cell} ${styles.headCell} ${styles.tick} ${styles.pinned}`}>
        <input
          ref={(element) => {
            box.current = element;
            if (element) element.indeterminate = ticked === "some";
          }}
          type="checkbox" className={styles.box} aria-label="Tick all runs shown" checked={ticked === "all"} onChange={onTickAll}
        />
      </div>
      {columns.map((column, place) => (
        <HeadCell
          key={column.text} column={column} place={place} offset={offsets[place]!} last={columns.length - 1} state={state} names={names} change={change} grouped={grouped}
        />
      ))}
    </div>
  );
}

function HeadCell({ column, place, offset, last, state, names, change, grouped }: {
  column: Column; place: number; offset: number; last: number; state: TableState; names: string[]; change: ChangeState; grouped: boolean;
}) {
  const [over, setOver] = useState(false);
  const [dragged, setDragged] = useState<number | null>(null);
  const at = state.sort.findIndex((key) => key.name === column.text);
  const key: SortKey | undefined = state.sort[at];
  const canSort = column.sortable && (!grouped || column.kind !== "field" || state.group.includes(column.text));
  const sortBy = (descending: boolean | null, also: boolean) => {
    const rest = also ? state.sort.filter((one) => one.name !== column.text) : [];
    change({ sort: descending === null ? rest : also ? placed(state.sort, column.text, descending) : [{ name: column.text, descending }] });
  };
  // first the way in which one looks for the best or the newest, then the other, then none
  const first = column.kind === "field" && ["created", "started", "ended", "duration"].includes(column.text);
  const next = key === undefined ? first : key.descending === first ? !first : null;
  const setWidth = (width: number) => change({ widths: { ...state.widths, [column.text]: Math.min(1000, Math.max(56, Math.round(width))) } }, { replace: true });
  const move = (to: number) => {
    const list = [...names];
    const from = list.indexOf(column.text);
    list.splice(from, 1);
    list.splice(to, 0, column.text);
    change({ columns: list });
  };
  const at0 = place - 1; // the name stands before the others
  const isName = column.text === NAME;
  const items: MenuItem[] = [
    ...(canSort
      ? [
          { label: "Smallest first", icon: "sortUp" as const, checked: key?.descending === false, onSelect: () => sortBy(false, false) },
          { label: "Largest first", icon: "sortDown" as const, checked: key?.descending === true, onSelect: () => sortBy(true, false) },
          state.sort.length > 0 && at !== 0 && { label: "Sort by this next", icon: "plus" as const, onSelect: () => sortBy(first, true) },
          key !== undefined && { label: "Do not sort by this", icon: "close" as const, onSelect: () => sortBy(null, true) },
          "separator" as const,
        ]
      : []),
    ...(column.kind === "metric"
      ? [
          { heading: "Which value" },
          ...STATISTICS.map((statistic) => ({
            label: statistic, checked: (column.statistic || "last") === statistic,
            onSelect: () => {
              const renamed = withStatistic(column, statistic);
              change({
                columns: names.filter((name) => name !== renamed || name === column.text).map((name) => (name === column.text ? renamed : name)),
                sort: state.sort.map((one) => (one.name === column.text ? { ...one, name: renamed } : one)),
              });
            },
          })),
          "separator" as const,
        ]
      : []),
    column.kind === "param" || ["user", "status", "project", "kind", "host", "branch", "commit"].includes(column.text)
      ? {
          label: "Group by this", checked: state.group.includes(column.text),
          onSelect: () => change({ group: state.group.includes(column.text) ? state.group.filter((one) => one !== column.text) : [...state.group, column.text] }),
        }
      : null,
    !isName && { label: "Pin up to here", icon: "pin", checked: column.pinned, onSelect: () => change({ pinned: column.pinned && state.pinned === place ? place - 1 : place }) },
    !isName && { label: "Move left", icon: "chevronLeft", disabled: at0 <= 0, onSelect: () => move(at0 - 1) },
    !isName && { label: "Move right", icon: "chevronRight", disabled: place >= last, onSelect: () => move(at0 + 1) },
    { label: "Wider", icon: "plus", onSelect: () => setWidth(column.width + 40) },
    { label: "Narrower", icon: "minus", onSelect: () => setWidth(column.width - 40) },
    !isName && "separator",
    !isName && { label: "Hide", icon: "close", onSelect: () => change({ columns: names.filter((name) => name !== column.text) }) },
  ];
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const from = event.dataTransfer.getData(DRAG);
    if (!from || from === column.text || isName) return;
    const list = names.filter((name) => name !== from);
    const before = names.indexOf(from);
    const target = list.indexOf(column.text);
    list.splice(before < at0 ? target + 1 : target, 0, from);
    change({ columns: list });
  };
  return (
    <div
      role="columnheader" aria-sort={key ? (key.descending ? "descending" : "ascending") : undefined}
      className={`${styles.cell} ${styles.headCell} ${column.pinned ? styles.pinned : ""} ${over ? styles.dropped : ""}`}
      style={column.pinned ? { left: offset } : undefined}
      onDragOver={(event) => {
        if (isName || !event.dataTransfer.types.includes(DRAG)) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)} onDrop={onDrop}
    >
      {/* no button: Firefox does not let one be dragged */}
      <span
        role="button" tabIndex={0} className={`${styles.sort} ${column.numeric ? styles.right : ""}`} title={`${column.text}${column.text === COMPLETE ? ": seed, commit and data version are known" : ""}`}
        draggable={!isName} aria-disabled={!canSort || undefined}
        onDragStart={(event) => event.dataTransfer.setData(DRAG, column.text)}
        onClick={(event) => canSort && sortBy(next, event.shiftKey)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          if (canSort) sortBy(next, event.shiftKey);
        }}
      >
        <span className="clip">{title(column.text)}</span>
        {key && (
          <>
            <Icon name={key.descending ? "sortDown" : "sortUp"} size={13} />
            {state.sort.length > 1 && <sup className={styles.order}>{at + 1}</sup>}
          </>
        )}
      </span>
      <Menu items={items} align="end">
        <button type="button" className={styles.headMenu} aria-label={`Column ${title(column.text)}`}>
          <Icon name="chevronDown" size={13} />
        </button>
      </Menu>
      <span
        className={`${styles.grip} ${dragged === null ? "" : styles.gripped}`} role="separator" aria-orientation="vertical" aria-label={`Width of ${title(column.text)}`}
        aria-valuenow={column.width} aria-valuemin={56} aria-valuemax={1000} tabIndex={-1}
        onPointerDown={(event: PointerEvent<HTMLSpanElement>) => {
          event.preventDefault();
          event.currentTarget.setPointerCapture(event.pointerId);
          setDragged(event.clientX - column.width);
        }}
        onPointerMove={(event) => dragged !== null && setWidth(event.clientX - dragged)}
        onPointerUp={() => setDragged(null)} onPointerCancel={() => setDragged(null)}
        onKeyDown={(event: KeyboardEvent) => {
          const by = { ArrowLeft: -16, ArrowRight: 16 }[event.key];
          if (by) setWidth(column.width + by);
        }}
      />
    </div>
  );
}

const DRAG = "application/x-larder-column";

function placed(sort: SortKey[], name: string, descending: boolean): SortKey[] {
  const found = sort.some((one) => one.name === name);
  return found ? sort.map((one) => (one.name === name ? { name, descending } : one)) : [...sort, { name, descending }].slice(-5);
}
