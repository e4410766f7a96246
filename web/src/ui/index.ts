// The components that all pages share. Chart, EChart, Markdown and Diff are imported by their own names ("@/ui/Chart"),
// so that they are loaded with the pages that need them.
export { Banner, ProblemBanner } from "./Banner";
export { Button, IconButton, buttonClass, type ButtonProps } from "./Button";
export { Card } from "./Card";
export { Code, CopyAs, CopyButton, copyText } from "./Copy";
export { Confirm, Dialog } from "./Dialog";
export { Empty } from "./Empty";
export { Checkbox, Field, Input, Select, TextArea } from "./Field";
export { Icon, type IconName } from "./Icon";
export { Kbd } from "./Kbd";
export { Menu, type MenuItem } from "./Menu";
export { Num } from "./Num";
export { Popover, PopoverClose } from "./Popover";
export { SearchBox } from "./SearchBox";
export { PageSkeleton, Skeleton, SkeletonLines } from "./Skeleton";
export { StatusBadge } from "./StatusBadge";
export { Segments, TabLinks, Tabs, type TabItem } from "./Tabs";
export { TagChip } from "./TagChip";
export { Duration, Time, useNow } from "./Time";
export { Tooltip } from "./Tooltip";
export { Visible } from "./Visible";
export { toast, toastProblem, Toasts } from "./toast";
export { useDark, useTheme, type Theme } from "./theme";
export { seriesColour, seriesDash, seriesOf } from "./colours";
