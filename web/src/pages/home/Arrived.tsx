import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";

import { api } from "@/api/client";
import { buttonClass, Card, Duration, StatusBadge } from "@/ui";

import styles from "./home.module.css";

/** The first run, where a moment ago there was nothing. */
export function Arrived() {
  const { data } = useQuery({
    queryKey: ["runs", "first"],
    queryFn: ({ signal }) => api.get("/v1/runs", { query: { limit: 1, order_by: "created", descending: false }, signal }),
  });
  const run = data?.runs[0];
  if (!run) return null;
  return (
    <Card className={styles.arrived} role="status">
      <div>
        <p className="quiet small">Your first run is here</p>
        <p className={styles.arrivedName}>
          {run.name} <StatusBadge status={run.status ?? "running"} />
        </p>
        <p className="quiet small">
          in {run.project} · <Duration started={run.started} ended={run.ended} />
        </p>
      </div>
      <Link to="/runs/$run/{-$tab}" params={{ run: run.id }} className={buttonClass({ kind: "primary" })}>
        Open it
      </Link>
    </Card>
  );
}
