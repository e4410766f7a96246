// A run beside a table: the same view, whose inner state lives in the panel and leaves the table's address alone.
import { useCallback, useMemo, useState } from "react";

import type { ChangeSearch, Search } from "@/nav";
import { PageSkeleton, ProblemBanner } from "@/ui";

import { PlaceContext, useRun, type Place, type TabId } from "./context";
import { RunView } from "./RunView";

export interface RunPanelProps {
  id: string;
  tab?: string;
  onTab: (tab: string) => void;
  onClose: () => void;
}

export function RunPanel({ id, tab = "overview", onTab, onClose }: RunPanelProps) {
  const [values, setValues] = useState<Search>({});
  const found = useRun(id);
  const run = found.data;
  const change = useCallback<ChangeSearch>((changes) => {
    setValues((now) => ({ ...now, ...(typeof changes === "function" ? changes(now) : changes) }));
  }, []);
  const place = useMemo<Place | null>(
    () =>
      run
        ? {
            id, run, values, change, panel: true,
            openTab: (to: TabId, search = {}) => {
              setValues(search);
              onTab(to);
            },
          }
        : null,
    [id, run, values, change, onTab],
  );
  if (found.error && !run) return <ProblemBanner error={found.error} retry={() => void found.refetch()} />;
  if (!place) return <PageSkeleton />;
  return (
    <PlaceContext value={place}>
      <RunView tab={tab as TabId} onClose={onClose} />
    </PlaceContext>
  );
}
