// One run: `/runs/{id}/{tab}`.
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useMemo } from "react";

import { Problem } from "@/api/client";
import { useAddress } from "@/nav";
import { useTitle } from "@/shell/title";
import { Empty, PageSkeleton, ProblemBanner } from "@/ui";

import { PlaceContext, useRun, type Place, type TabId } from "./context";
import { RunView } from "./RunView";

export default function RunPage() {
  const { run: id = "", tab = "overview" } = useParams({ strict: false }) as { run?: string; tab?: string };
  const [values, change] = useAddress();
  const navigate = useNavigate();
  const found = useRun(id);
  const run = found.data;
  useTitle(run ? run.name : "run");
  const place = useMemo<Place | null>(
    () =>
      run
        ? {
            id, run, values, change, panel: false,
            openTab: (to: TabId, search = {}) =>
              void navigate({ to: "/runs/$run/{-$tab}", params: { run: id, tab: to === "overview" ? undefined : to }, search: search as never }),
          }
        : null,
    [id, run, values, change, navigate],
  );
  if (found.error instanceof Problem && found.error.status === 404)
    return (
      <Empty title="There is no such run" level={1}>
        <p>It may have been deleted, or its address is not whole.</p>
        <Link to="/runs">All runs</Link>
      </Empty>
    );
  if (found.error && !run) return <ProblemBanner error={found.error} retry={() => void found.refetch()} />;
  if (!place) return <PageSkeleton />;
  return (
    <PlaceContext value={place}>
      <RunView tab={tab as TabId} />
    </PlaceContext>
  );
}
