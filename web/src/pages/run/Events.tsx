// What happened to the run, in order, in words.
import { useQuery } from "@tanstack/react-query";

import { api, type Answer } from "@/api/client";
import { Empty, SkeletonLines, Time } from "@/ui";

import { usePlace } from "./context";
import styles from "./run.module.css";

type Event = Answer<"/v1/events", "get">["events"][number];

const MOST = 2000;

export default function Events() {
  const { id } = usePlace();
  const found = useQuery({
    queryKey: ["run", id, "events"],
    queryFn: async ({ signal }) => {
      const all: Event[] = [];
      for (let after = 0; all.length < MOST; ) {
        const page = await api.get("/v1/events", { query: { subject: id, after, limit: 500 }, signal });
        all.push(...page.events);
        if (page.events.length < 500) break;
        after = page.last;
      }
      return all.filter((event) => event.name !== "runs.tidy_due");
    },
  });
  if (found.error) return <p className="quiet">{found.error.message}</p>;
  if (!found.data) return <SkeletonLines lines={8} />;
  if (!found.data.length) return <Empty title="No events" />;
  return (
    <div className={styles.scroll}>
      <table className={styles.grid}>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">What</th>
            <th scope="col">By</th>
          </tr>
        </thead>
        <tbody>
          {[...found.data].reverse().map((event) => (
            <tr key={event.sequence}>
              <td>
                <Time at={event.time} />
              </td>
              <td>{inWords(event)}</td>
              <td className="quiet">{event.user}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {found.data.length >= MOST && <p className="quiet small">Later events are not shown.</p>}
    </div>
  );
}

function inWords({ name, data }: Event): string {
  const told = data as Record<string, unknown>;
  const said = (key: string) => (typeof told[key] === "string" || typeof told[key] === "number" ? String(told[key]) : "");
  const reason = said("reason") ? `: ${said("reason")}` : "";
  switch (name) {
    case "runs.created":
      return said("parent") ? `Made from run ${said("parent").slice(-8)}` : "Made";
    case "runs.changed":
      return `Changed: ${Array.isArray(told.fields) ? told.fields.join(", ") : ""}`;
    case "runs.queued":
      return `Put into the queue ${said("queue")}`;
    case "runs.started":
      return `Started${said("agent") ? ` by agent ${said("agent")}` : ""}${said("host") ? ` on ${said("host")}` : ""}${Number(told.attempt) > 1 ? `, attempt ${said("attempt")}` : ""}`;
    case "runs.restarted":
      return `Began anew, attempt ${said("attempt")}`;
    case "runs.continued":
      return Number(told.step) >= 0 ? `Went on after step ${said("step")}, attempt ${said("attempt")}` : `Began again, attempt ${said("attempt")}`;
    case "runs.resumed":
      return "Went on";
    case "runs.stop_asked":
      return `Asked to stop${reason}`;
    case "runs.finished":
      return `${said("status").charAt(0).toUpperCase()}${said("status").slice(1)}${reason}`;
    case "runs.requeued":
      return `Back in the queue${reason}`;
    case "runs.reset":
      return "Made a draft again";
    case "runs.published":
      return "Published";
    case "runs.lost":
      return `Lost${reason}`;
    case "runs.artifact_logged":
      return `Kept ${said("name")}${Number(told.version) > 1 ? `, version ${said("version")}` : ""}`;
    default:
      return name.replace(/^runs\./, "").replaceAll("_", " ");
  }
}
