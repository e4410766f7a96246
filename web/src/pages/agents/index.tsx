// Agents: who executes what, how busy each machine is, and what it did before.
import { useQuery } from "@tanstack/react-query";

import { api, Problem } from "@/api/client";
import { plural } from "@/format";
import { useAddress } from "@/nav";
import { useTitle } from "@/shell/title";
import { Checkbox, Code, Empty, ProblemBanner, SearchBox, SkeletonLines } from "@/ui";

import { useNames } from "../queues/data";
import { AgentCard } from "./AgentCard";
import styles from "./agents.module.css";

export default function Agents() {
  useTitle("agents");
  const [search, change] = useAddress();
  const { data, error, refetch } = useQuery({
    queryKey: ["agents"],
    queryFn: ({ signal }) => api.get("/v1/agents", { signal }),
    refetchInterval: 15_000,
  });
  const who = useQuery({ queryKey: ["whoami"], queryFn: ({ signal }) => api.get("/v1/whoami", { signal }), staleTime: 5 * 60_000 });
  const names = useNames((data?.agents ?? []).flatMap((agent) => (agent.jobs ?? []).map((job) => job.subject)));
  if (error instanceof Problem && error.code === "unauthenticated") throw error;
  if (error && !data) return <ProblemBanner error={error} retry={() => void refetch()} />;
  if (!data)
    return (
      <div className="stack">
        <h1>Agents</h1>
        <SkeletonLines lines={8} />
      </div>
    );
  const text = (search.text ?? "").toLowerCase();
  const gone = data.agents.filter((agent) => agent.state === "gone").length;
  const all = search.gone === "1";
  const shown = data.agents
    .filter((agent) => all || agent.state !== "gone" || agent.name === search.agent)
    .filter((agent) => !text || [agent.name, agent.host ?? "", ...agent.queues].some((word) => word.toLowerCase().includes(text)));
  const busy = data.agents.filter((agent) => agent.state === "busy").length;
  const living = data.agents.length - gone;
  return (
    <div className="stack">
      <div className="row">
        <h1>Agents</h1>
        {data.agents.length > 0 && (
          <span className="quiet small">
            {plural(living, "agent")}, {busy} busy
          </span>
        )}
        {data.agents.length > 0 && (
          <span className={`row push ${styles.tools}`}>
            {gone > 0 && <Checkbox label={`Show ${gone} gone`} checked={all} onChange={(event) => change({ gone: event.target.checked ? "1" : undefined }, { replace: true })} />}
            {data.agents.length > 4 && (
              <span className={styles.search}>
                <SearchBox value={search.text ?? ""} onChange={(next) => change({ text: next }, { replace: true })} label="Find an agent, a host or a queue" focusKey="/" />
              </span>
            )}
          </span>
        )}
      </div>
      {data.agents.length === 0 ? (
        <Empty title="No agent has been here">
          <p>An agent executes queued runs on the machine where you start it: it brings the recorded code, builds the recorded environment, and reports.</p>
          <Code label="Start an agent">{`larder login ${location.origin}\nlarder agent start --queue default`}</Code>
          <p className="quiet small">
            On the machine of the server: <code>larder up --agents 1</code>
          </p>
        </Empty>
      ) : shown.length ? (
        <ul className={styles.agents}>
          {shown.map((agent) => (
            <AgentCard
              key={agent.name} agent={agent} names={names} open={search.agent === agent.name}
              onOpen={(open) => change({ agent: open ? agent.name : undefined }, { replace: true })}
              steers={who.data?.role === "maintainer" || who.data?.role === "admin"}
            />
          ))}
        </ul>
      ) : (
        <p className="quiet">{text ? `No agent, host or queue is called “${search.text}”.` : "No agent was heard in the last three minutes."}</p>
      )}
    </div>
  );
}
