// The table itself: a window on as many rows as there are, one by one or in groups.
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useEffect, useMemo, useRef, useState, type MouseEvent, type ReactNode } from "react";

import { plural, value as shown } from "@/format";
import { Button, Icon, IconButton, Skeleton } from "@/ui";

import { GroupCell, RunCell } from "./Cells";
import { NAME, type Column } from "./columns";
import { PAGE, type Group, type Row } from "./data";
import { Head, type HeadProps } from "./Head";
import { parseParts } from "./names";
import styles from "./runs.module.css";

export const ROW = 36;
const TICK = 40;

export type Item =
  | { kind: "run"; row: Row; inGroup: boolean }
  | { kind: "group"; group: Group; open: boolean }
  | { kind: "more"; group: Group; left: number }
  | { kind: "waiting" };

export interface RunTableProps {
  head: Omit<HeadProps, "columns" | "offsets" | "template" | "onTickAll" | "ticked">;
  columns: Column[];
  /** How many items there are, and which one stands at a place. */
  count: number;
  itemAt: (index: number) => Item;
  onRange: (first: number, last: number) => void;
  /** Changes when other runs are meant: the table then begins at its top. */
  subject: string;
  groupKeys: string[];
  /** The place of each column among a group's cells. */
  groupPlaces: number[];
  base: Row | null;
  onBase: (id: string) => void;
  ticked: (id: string) => boolean;
  onTick: (index: number, range: boolean) => void;
  tickedAll: "all" | "some" | "none";
  onTickAll: () => void;
  cursor: number;
  onCursor: (index: number) => void;
  opened: string;
  onOpen: (id: string) => void;
  onToggleGroup: (group: Group) => void;
  onShowGroup: (group: Group) => void;
  busy: boolean;
  label: string;
}

export function RunTable(props: RunTableProps) {
  const { columns, count, itemAt, onRange, subject, cursor, base } = props;
  const [scroller, setScroller] = useState<HTMLDivElement | null>(null);
  const tell = useRef(onRange);
  useEffect(() => {
    tell.current = onRange;
  });
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => scroller,
    estimateSize: () => ROW,
    overscan: 10,
    paddingEnd: 8,
    initialRect: { width: 1000, height: 800 },
    onChange: (instance) => {
      const range = instance.range;
      if (range) tell.current(Math.floor(range.startIndex / PAGE) * PAGE, Math.ceil((range.endIndex + 1) / PAGE) * PAGE - 1);
    },
  });
  useEffect(() => {
    if (scroller) scroller.scrollTop = 0;
  }, [subject, scroller]);
  const scrollToIndex = virtual.scrollToIndex;
  useEffect(() => {
    if (cursor >= 0) scrollToIndex(cursor, { align: "auto" });
  }, [cursor, scrollToIndex]);
  const template = useMemo(
    () => `${TICK}px ${columns.map((column, place) => (place === columns.length - 1 ? `minmax(${column.width}px, 1fr)` : `${column.width}px`)).join(" ")}`,
    [columns],
  );
  const offsets = useMemo(() => {
    let left = TICK;
    return columns.map((column) => (left += column.width) - column.width);
  }, [columns]);
  const width = TICK + columns.reduce((sum, column) => sum + column.width, 0);
  const size = virtual.getTotalSize();
  return (
    <div
      ref={setScroller} className={`${styles.scroller} ${props.busy ? styles.busy : ""}`} role={props.groupKeys.length ? "treegrid" : "grid"} aria-label={props.label} aria-rowcount={count + 1} aria-colcount={columns.length + 1}
      aria-busy={props.busy} tabIndex={0}
    >
      <div className={styles.sheet} style={{ minWidth: `max(100%, ${width}px)` }}>
        <div role="rowgroup" className={styles.top}>
          <Head {...props.head} columns={columns} offsets={offsets} template={template} ticked={props.tickedAll} onTickAll={props.onTickAll} />
          {base && (
            <div role="row" className={`${styles.line} ${styles.baseline}`} style={{ gridTemplateColumns: template }} aria-label="Baseline">
              <div role="gridcell" className={`${styles.cell} ${styles.tick} ${styles.pinned}`}>
                <IconButton icon="close" size="small" label="No baseline" onClick={() => props.onBase("")} />
              </div>
              {columns.map((column, place) => (
                <div
                  key={column.text} role="gridcell" className={`${styles.cell} ${column.numeric ? styles.right : ""} ${column.pinned ? styles.pinned : ""}`}
                  style={column.pinned ? { left: offsets[place] } : undefined}
                >
                  {column.text === NAME && <span className={styles.baseWord}>Baseline</span>}
                  <RunCell row={base} column={column} base={null} />
                </div>
              ))}
            </div>
          )}
        </div>
        <div role="rowgroup" className={styles.rows} style={{ height: size }}>
          {virtual.getVirtualItems().map((place) => (
            <Line
              key={place.key} index={place.index} start={place.start} item={itemAt(place.index)} columns={columns} offsets={offsets} template={template} base={base}
              cursor={place.index === cursor} props={props}
            />
          ))}
        </div>
      </div>
    </div>
  );
}

interface LineProps {
  index: number;
  start: number;
  item: Item;
  columns: Column[];
  offsets: number[];
  template: string;
  base: Row | null;
  cursor: boolean;
  props: RunTableProps;
}

function Line({ index, start, item, columns, offsets, template, base, cursor, props }: LineProps) {
  const place = { transform: `translateY(${start}px)`, gridTemplateColumns: template };
  if (item.kind === "group")
    return <GroupLine group={item.group} open={item.open} index={index} style={place} columns={columns} offsets={offsets} base={base} cursor={cursor} props={props} />;
  if (item.kind === "more")
    return (
      <div role="row" aria-rowindex={index + 2} className={styles.line} style={place}>
        <div role="gridcell" className={`${styles.cell} ${styles.wholeLine}`} aria-colspan={columns.length + 1}>
          <Button kind="quiet" size="small" onClick={() => props.onShowGroup(item.group)}>
            {plural(item.left, "run")} more in this group: show them all
          </Button>
        </div>
      </div>
    );
  if (item.kind === "waiting")
    return (
      <div role="row" aria-rowindex={index + 2} className={styles.line} style={place} aria-label="Loading">
        <div role="gridcell" className={styles.cell} />
        {columns.map((column, at) => (
          <div role="gridcell" className={styles.cell} key={column.text}>
            <Skeleton width={`${[72, 48, 60, 55][(index + at) % 4]}%`} height="0.8em" />
          </div>
        ))}
      </div>
    );
  return (
    <RunLine
      row={item.row} inGroup={item.inGroup} index={index} start={start} template={template} columns={columns} offsets={offsets} base={base} cursor={cursor}
      ticked={props.ticked(item.row.id)} opened={props.opened === item.row.id} onTick={props.onTick} onCursor={props.onCursor} onOpen={props.onOpen} onBase={props.onBase}
    />
  );
}

const RunLine = memo(function RunLine({ row, inGroup, index, start, template, columns, offsets, base, cursor, ticked, opened, onTick, onCursor, onOpen, onBase }: {
  row: Row; inGroup: boolean; index: number; start: number; template: string; columns: Column[]; offsets: number[]; base: Row | null; cursor: boolean; ticked: boolean; opened: boolean;
  onTick: (index: number, range: boolean) => void; onCursor: (index: number) => void; onOpen: (id: string) => void; onBase: (id: string) => void;
}) {
  const open = (event: MouseEvent) => {
    if ((event.target as HTMLElement).closest("a, button, input, label")) return;
    if (window.getSelection()?.toString()) return;
    onCursor(index);
    onOpen(row.id);
  };
  const isBase = base?.id === row.id;
  return (
    <div
      role="row" aria-rowindex={index + 2} aria-selected={ticked} data-run={row.id}
      className={[styles.line, ticked && styles.ticked, cursor && styles.cursor, opened && styles.opened, row.archived && styles.archived].filter(Boolean).join(" ")}
      style={{ transform: `translateY(${start}px)`, gridTemplateColumns: template }} onClick={open}
    >
      <div role="gridcell" className={`${styles.cell} ${styles.tick} ${styles.pinned}`}>
        <label className={styles.tickArea}>
          <input
            type="checkbox" className={styles.box} checked={ticked} aria-label={`Tick ${row.name}`} onChange={() => undefined}
            onClick={(event) => onTick(index, event.shiftKey)}
          />
        </label>
      </div>
      {columns.map((column, place) => (
        <div
          key={column.text} role="gridcell"
          className={`${styles.cell} ${column.numeric ? styles.right : ""} ${column.pinned ? styles.pinned : ""} ${inGroup && column.text === NAME ? styles.nested : ""}`}
          style={column.pinned ? { left: offsets[place] } : undefined}
        >
          <RunCell row={row} column={column} base={base} />
          {column.text === NAME && (
            <span className={styles.rowTools}>
              <IconButton
                icon="pin" size="small" label={isBase ? "No baseline" : `Compare all with ${row.name}`} tooltip={false} title={isBase ? "No baseline" : "Baseline: show differences from this run"}
                aria-pressed={isBase} onClick={() => onBase(isBase ? "" : row.id)}
              />
              <IconButton icon="panel" size="small" label={`Open ${row.name} beside`} tooltip={false} title="Open beside" onClick={() => { onCursor(index); onOpen(row.id); }} />
            </span>
          )}
        </div>
      ))}
    </div>
  );
});

/** What the runs of a group agree in. */
function keyText(group: Group, place: number): string {
  const key = group.key[place];
  return key === null || key === "" ? "none" : shown(key);
}

function GroupLine({ group, open, index, style, columns, offsets, base, cursor, props }: {
  group: Group; open: boolean; index: number; style: object; columns: Column[]; offsets: number[]; base: Row | null; cursor: boolean; props: RunTableProps;
}): ReactNode {
  const said = props.groupKeys.map((name, place) => `${parseParts(name).label} = ${keyText(group, place)}`);
  const toggle = useCallback(() => props.onToggleGroup(group), [props, group]);
  return (
    <div
      role="row" aria-rowindex={index + 2} aria-expanded={open} className={`${styles.line} ${styles.group} ${cursor ? styles.cursor : ""}`} style={style}
      onClick={(event) => {
        if (!(event.target as HTMLElement).closest("a, button, input")) toggle();
      }}
    >
      <div role="gridcell" className={`${styles.cell} ${styles.tick} ${styles.pinned}`}>
        <button type="button" className={styles.expander} aria-expanded={open} aria-label={`Runs with ${said.join(", ")}`} onClick={toggle}>
          <Icon name={open ? "chevronDown" : "chevronRight"} size={14} />
        </button>
      </div>
      {columns.map((column, place) => (
        <div
          key={column.text} role="gridcell" className={`${styles.cell} ${column.numeric ? styles.right : ""} ${column.pinned ? styles.pinned : ""}`}
          style={column.pinned ? { left: offsets[place] } : undefined}
        >
          {column.text === NAME ? (
            <>
              <span className={`${styles.groupName} clip`} title={said.join(", ")}>
                {said.join(", ")}
              </span>
              <span className={styles.n} title={group.seeds ? `${plural(group.runs, "run")}, ${plural(group.seeds, "seed")}` : plural(group.runs, "run")}>
                n {group.runs}
              </span>
            </>
          ) : props.groupKeys.includes(column.text) ? (
            <span className="clip">{keyText(group, props.groupKeys.indexOf(column.text))}</span>
          ) : (
            <GroupCell group={group} column={column} place={props.groupPlaces[place]!} base={base} />
          )}
        </div>
      ))}
    </div>
  );
}
