import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useId, useState } from "react";

import { api, type Answer } from "@/api/client";
import { bytes, percent, shortId } from "@/format";
import { Button, Confirm, Duration, Icon, SkeletonLines, StatusBadge, Time, toast, toastProblem } from "@/ui";

import { needsOf, useNames, type Names } from "../queues/data";
import styles from "./agents.module.css";

type Agent = Answer<"/v1/agents", "get">["agents"][number];

export function AgentCard({ agent, names, open, onOpen, steers }: { agent: Agent; names: Names; open: boolean; onOpen: (open: boolean) => void; steers: boolean }) {
  const panel = useId();
  const [asking, setAsking] = useState(false);
  const client = useQueryClient();
  const drain = useMutation({
    mutationFn: () => api.post("/v1/agents/{agent}/drain", { params: { agent: agent.name } }),
    onSuccess: () => void toast({ text: `${agent.name} ends after its work` }),
    onError: toastProblem,
    onSettled: () => {
      setAsking(false);
      return client.invalidateQueries({ queryKey: ["agents"] });
    },
  });
  const jobs = agent.jobs ?? [];
  const slots = agent.capacity?.slots ?? 1;
  const gone = agent.state === "gone";
  return (
    <li className={`${styles.agent} ${gone ? styles.gone : ""}`}>
      <div className={styles.head}>
        <h2 className={styles.name}>{agent.name}</h2>
        <State state={agent.state} />
        <span className="quiet small">
          {agent.host && agent.host !== agent.name ? `${agent.host} · ` : ""}
          {agent.queues.map((queue, index) => (
            <span key={queue}>
              {index > 0 && ", "}
              <Link to="/queues/{-$queue}" params={{ queue }}>
                {queue}
              </Link>
            </span>
          ))}
        </span>
        <span className="quiet small push">
          {gone ? "last heard" : "heard"} <Time at={agent.seen} />
        </span>
      </div>
      <Load agent={agent} slots={slots} />
      {jobs.length > 0 ? (
        <ul className={styles.jobs} aria-label={`Executed by ${agent.name} now`}>
          {jobs.map((job) => {
            const run = names[job.subject];
            return (
              <li key={job.id}>
                <StatusBadge status={run?.status === "running" ? "running" : "queued"} label={false} />
                <Link to="/runs/$run/{-$tab}" params={{ run: job.subject }} className="clip">
                  {run?.name ?? shortId(job.subject)}
                </Link>
                <span className="quiet small clip">{[run?.project, job.owner, needsOf(job), job.gpus?.length ? `GPU ${job.gpus.join(", ")}` : ""].filter(Boolean).join(" · ")}</span>
                <span className="small push">{run?.status === "running" ? <Duration started={run.started} ended={null} /> : <span className="quiet">starting</span>}</span>
              </li>
            );
          })}
        </ul>
      ) : (
        !gone && <p className="quiet small">{agent.state === "draining" ? "It is about to end." : "It waits for work."}</p>
      )}
      <div className="row">
        <Button kind="quiet" size="small" icon={open ? "chevronDown" : "chevronRight"} aria-expanded={open} aria-controls={panel} onClick={() => onOpen(!open)}>
          History
        </Button>
        <span className="quiet small">
          started <Time at={agent.started} />
          {agent.version ? ` · version ${agent.version}` : ""}
          {agent.capacity?.executors?.length ? ` · ${agent.capacity.executors.join(", ")}` : ""}
        </span>
        {!gone && agent.state !== "draining" && (
          <Button size="small" className="push" disabled={!steers} title={steers ? undefined : "Needs the role maintainer"} onClick={() => setAsking(true)}>
            Drain
          </Button>
        )}
      </div>
      <div id={panel} hidden={!open}>
        {open && <History agent={agent.name} />}
      </div>
      <Confirm open={asking} onClose={() => setAsking(false)} title={`Drain ${agent.name}?`} action="Drain it" danger={false} busy={drain.isPending} onConfirm={() => drain.mutate()}>
        <p>It takes nothing new, finishes what it executes, and ends. This cannot be undone from here: to have it back, start it again on its machine.</p>
      </Confirm>
    </li>
  );
}

const STATES: Record<string, { word: string; icon: "play" | "clock" | "minus" | "warning" }> = {
  busy: { word: "busy", icon: "play" },
  idle: { word: "idle", icon: "clock" },
  draining: { word: "draining", icon: "minus" },
  gone: { word: "gone", icon: "warning" },
};

function State({ state }: { state: string }) {
  const known = STATES[state] ?? STATES.idle!;
  return (
    <span className={`${styles.state} ${styles[state] ?? ""}`}>
      <Icon name={known.icon} size={12} /> {known.word}
    </span>
  );
}

function Load({ agent, slots }: { agent: Agent; slots: number }) {
  const { load, capacity } = agent;
  const used = (agent.jobs ?? []).length;
  const gpus = capacity?.gpus ?? [];
  return (
    <div className={styles.loads}>
      <Bar label="Slots" share={slots ? used / slots : 0} text={`${used} of ${slots}`} />
      {agent.state !== "gone" && (
        <>
          <Bar label="CPU" share={load?.cpu ?? 0} text={`${percent(load?.cpu ?? 0)}${capacity?.cpus ? ` of ${capacity.cpus}` : ""}`} />
          {capacity?.memory ? <Bar label="Memory" share={(load?.memory ?? 0) / capacity.memory} text={`${bytes(load?.memory ?? 0)} of ${bytes(capacity.memory)}`} /> : null}
          {gpus.map((gpu, index) => (
            <Bar
              key={gpu.index} label={`GPU ${gpu.index}`} share={load?.gpus?.[index] ?? 0}
              text={`${percent(load?.gpus?.[index] ?? 0)} · ${[gpu.name, bytes(gpu.memory)].filter(Boolean).join(", ")}`}
            />
          ))}
        </>
      )}
    </div>
  );
}

function Bar({ label, share, text }: { label: string; share: number; text: string }) {
  const whole = Math.max(0, Math.min(1, share));
  return (
    <div className={styles.load}>
      <span className="quiet small">{label}</span>
      <div className={styles.bar} role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={1} aria-valuenow={whole} aria-valuetext={text}>
        <span style={{ width: `${whole * 100}%` }} className={whole > 0.9 ? styles.full : undefined} />
      </div>
      <span className="small tabular clip" title={text}>
        {text}
      </span>
    </div>
  );
}

const CAUSES: Record<string, string> = { agent_lost: "the agent was silent", preempted: "given back", moved: "moved" };

function History({ agent }: { agent: string }) {
  const { data } = useQuery({
    queryKey: ["agents", "history", agent],
    queryFn: ({ signal }) => api.get("/v1/agents/{agent}/history", { params: { agent }, query: { limit: 50 }, signal }),
  });
  const names = useNames((data?.stays ?? []).map((stay) => stay.subject).filter(Boolean));
  if (!data) return <SkeletonLines lines={4} />;
  if (!data.stays.length) return <p className="quiet small">It has executed nothing yet.</p>;
  return (
    <div className={styles.scroll} tabIndex={0} role="region" aria-label={`What ${agent} has executed`}>
      <table className={styles.history}>
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">Queue</th>
            <th scope="col">Began</th>
            <th scope="col">Took</th>
            <th scope="col">Now</th>
          </tr>
        </thead>
        <tbody>
          {data.stays.map((stay) => {
            const run = names[stay.subject];
            return (
              <tr key={`${stay.job} ${stay.leased}`}>
                <td className={styles.run}>
                  {run ? (
                    <Link to="/runs/$run/{-$tab}" params={{ run: run.id }} className="clip">
                      {run.name}
                    </Link>
                  ) : (
                    <span className="quiet">{stay.subject ? "deleted" : "not recorded"}</span>
                  )}
                </td>
                <td>{stay.queue}</td>
                <td>
                  <Time at={stay.leased} />
                </td>
                <td>
                  <Duration started={stay.leased} ended={stay.ended} />
                </td>
                <td>{stay.ended && stay.cause ? <span className="quiet">{CAUSES[stay.cause] ?? stay.cause}</span> : run ? <StatusBadge status={run.status} /> : null}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
