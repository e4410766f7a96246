// The few signs the pages use, drawn by hand on a grid of 16; always beside a word or with a label on the button.
const paths = {
  archive: "M2 3h12v3H2zM3.5 6v7h9V6M6.5 9h3",
  bell: "M4 11V7a4 4 0 0 1 8 0v4l1 1H3zM6.5 14h3",
  check: "M3 8.5l3.5 3.5L13 4.5",
  chevronDown: "M4 6l4 4 4-4",
  chevronLeft: "M10 4L6 8l4 4",
  chevronRight: "M6 4l4 4-4 4",
  chevronUp: "M4 10l4-4 4 4",
  clock: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5v3.2l2 1.3",
  close: "M4 4l8 8M12 4l-8 8",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  compare: "M5.5 2.5v11M10.5 2.5v11M2.5 5.5h3M10.5 10.5h3",
  copy: "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
  download: "M8 2.5v8M4.5 7.5L8 11l3.5-3.5M3 13.5h10",
  drag: "M6 4v.01M10 4v.01M6 8v.01M10 8v.01M6 12v.01M10 12v.01",
  edit: "M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3z",
  external: "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3L7.5 8.5",
  filter: "M2.5 3.5h11L9.5 8.5V13l-3-1.5v-3z",
  help: "M5.8 6a2.2 2.2 0 1 1 3.3 1.9c-.7.4-1.1.8-1.1 1.6M8 12v.01",
  info: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 7.5v3.5M8 5v.01",
  link: "M6.5 9.5l3-3M7 5l1.8-1.8a2.8 2.8 0 0 1 4 4L11 9M9 11l-1.8 1.8a2.8 2.8 0 0 1-4-4L5 7",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  minus: "M3 8h10",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z",
  more: "M3.5 8v.01M8 8v.01M12.5 8v.01",
  panel: "M2.5 3h11v10h-11zM9 3v10",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  pin: "M5.5 2.5h5M6.5 2.5V7L4.5 9.5h7L9.5 7V2.5M8 9.5v4",
  play: "M5 3l8 5-8 5z",
  plus: "M8 3v10M3 8h10",
  refresh: "M13 8a5 5 0 1 1-1.5-3.5M13 2.5v3h-3",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3L14 14",
  settings: "M2.5 4.5h6M12 4.5h1.5M10.2 3v3M2.5 11.5H4M7.5 11.5h6M5.8 10v3",
  share: "M8 2.5v7.5M5 5l3-2.5L11 5M3.5 8.5v5h9v-5",
  sortDown: "M8 3v10M4.5 9.5L8 13l3.5-3.5",
  sortUp: "M8 13V3M4.5 6.5L8 3l3.5 3.5",
  star: "M8 2.5l1.7 3.5 3.8.5-2.8 2.6.7 3.9L8 11.2 4.6 13l.7-3.9L2.5 6.5l3.8-.5z",
  stop: "M4 4h8v8H4z",
  sun: "M8 5.3a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  tag: "M2.5 2.5h5.5l5.5 5.5-5.5 5.5-5.5-5.5zM5.5 5.5v.01",
  trash: "M3 4.5h10M6 4.5v-2h4v2M4.5 4.5l.6 9h5.8l.6-9M7 7v4M9 7v4",
  undo: "M5.5 3L2.5 6l3 3M2.5 6h7a4 4 0 0 1 0 8H7",
  warning: "M8 2.5L14.5 13.5h-13zM8 6.5v3.2M8 11.7v.01",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16, className }: { name: IconName; size?: number; className?: string }) {
  return (
    <svg
      className={className} width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor"
      strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false"
    >
      <path d={paths[name]} />
    </svg>
  );
}
