import { useState } from "react";

import { plural } from "@/format";
import { Banner, Button, Dialog, Field, Input, TextArea } from "@/ui";

import { policyOf, usePolicy, type Policy, type Queue } from "./data";
import styles from "./queues.module.css";

export function QueueHead({ queue, steers }: { queue: Queue; steers: boolean }) {
  const policy = policyOf(queue);
  const change = usePolicy(queue.name);
  const [editing, setEditing] = useState(false);
  const paused = policy.paused ?? false;
  const draining = policy.draining ?? false;
  const title = steers ? undefined : "Needs the role maintainer";
  const toggle = (name: "paused" | "draining", now: boolean, said: string) =>
    change.mutate({ change: { [name]: !now }, before: { [name]: now }, said });
  return (
    <header className={styles.head}>
      <div className="row">
        <h2 className={styles.title}>{queue.name}</h2>
        <span className="quiet small">{queue.agents ? `${plural(queue.agents, "agent")} listening` : "no agent listens"}</span>
        <span className="row push">
          <Button
            icon={paused ? "play" : "pause"} disabled={!steers} title={title}
            onClick={() => toggle("paused", paused, paused ? `${queue.name} goes on` : `${queue.name} is paused`)}
          >
            {paused ? "Go on" : "Pause"}
          </Button>
          <Button
            aria-pressed={draining} disabled={!steers} title={title ?? "Nothing new is put in; what waits is executed"}
            onClick={() => toggle("draining", draining, draining ? `${queue.name} takes jobs again` : `${queue.name} is draining`)}
          >
            {draining ? "Stop draining" : "Drain"}
          </Button>
          <Button icon="settings" disabled={!steers} title={title} onClick={() => setEditing(true)}>
            Policy
          </Button>
        </span>
      </div>
      {paused && <Banner kind="warn">Paused: nothing is given to an agent until somebody lets it go on.</Banner>}
      {draining && <Banner kind="info">Draining: nothing can be put in; what waits is executed.</Banner>}
      <p className="quiet small">{inWords(policy)}</p>
      {editing && (
        <PolicyDialog
          policy={policy}
          onClose={() => setEditing(false)}
          onSave={(next) => {
            setEditing(false);
            change.mutate({
              change: next,
              before: { limit_per_user: policy.limit_per_user ?? 0, shares: policy.shares ?? {} },
              said: `The policy of ${queue.name} was changed`,
            });
          }}
        />
      )}
    </header>
  );
}

function inWords(policy: Policy): string {
  const said = ["What people enqueue goes before what searches and schedules put in."];
  if (policy.limit_per_user) said.push(`A user has at most ${plural(policy.limit_per_user, "job")} running.`);
  const shares = Object.entries(policy.shares ?? {});
  if (shares.length) said.push(`Teams take turns by their shares: ${shares.map(([team, share]) => `${team} ${share}`).join(", ")}.`);
  return said.join(" ");
}

function PolicyDialog({ policy, onClose, onSave }: { policy: Policy; onClose: () => void; onSave: (next: Pick<Policy, "limit_per_user" | "shares">) => void }) {
  const [limit, setLimit] = useState(String(policy.limit_per_user ?? 0));
  const [shares, setShares] = useState(
    Object.entries(policy.shares ?? {})
      .map(([team, share]) => `${team} ${share}`)
      .join("\n"),
  );
  const [problem, setProblem] = useState<{ limit?: string; shares?: string }>({});
  const save = () => {
    const found: Record<string, number> = {};
    const wrong: typeof problem = {};
    if (!/^\d{1,6}$/.test(limit.trim())) wrong.limit = "A whole number; 0 for no limit";
    for (const row of shares.split("\n").map((one) => one.trim()).filter(Boolean)) {
      const match = /^(.+?)[\s=:]+(\d+(?:\.\d+)?)$/.exec(row);
      if (!match || Number(match[2]) <= 0) wrong.shares = `Not a team and its weight: “${row}”`;
      else found[match[1]!] = Number(match[2]);
    }
    setProblem(wrong);
    if (!wrong.limit && !wrong.shares) onSave({ limit_per_user: Number(limit), shares: found });
  };
  return (
    <Dialog
      open onClose={onClose} onSubmit={save} title="How this queue gives its jobs away"
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit">
            Save
          </Button>
        </>
      }
    >
      <div className="stack">
        <Field label="Jobs of one user that run at a time" hint="0: any number" error={problem.limit}>
          {(aria) => <Input {...aria} inputMode="numeric" value={limit} onChange={(event) => setLimit(event.target.value)} />}
        </Field>
        <Field label="Shares of teams" hint="One team and its weight a line, such as “vision 2”; a team that is not named has 1. Empty: first come, first served." error={problem.shares}>
          {(aria) => <TextArea {...aria} rows={4} value={shares} onChange={(event) => setShares(event.target.value)} />}
        </Field>
      </div>
    </Dialog>
  );
}
