// A copy of a run with other parameters, code, environment or needs, put into a queue or kept as a draft.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";

import { api, Problem } from "@/api/client";
import { shortId, value as shown } from "@/format";
import { Banner, Button, Dialog, Field, IconButton, Input, Select, toast } from "@/ui";

import { record, text, usePlace } from "./context";
import styles from "./run.module.css";

/** Stands in the choice of code for a commit that is typed. */
const COMMIT = "commit";
type Param = string | number | boolean | null;

/** A typed text as a value: of the kind that the parameter had, where the text can be one. */
export function parsed(text: string, before: Param | undefined): Param {
  const bare = text.trim();
  if (typeof before === "string") return text;
  if (bare === "") return before === undefined || before === null ? null : "";
  if (/^(true|True)$/.test(bare)) return true;
  if (/^(false|False)$/.test(bare)) return false;
  if (/^(null|None)$/.test(bare)) return null;
  const number = Number(bare);
  return Number.isFinite(number) && /^[-+]?(\d|\.\d)/.test(bare) ? number : text;
}

/** "lr=0.2 depth=6" as texts by name; a piece without "=" belongs to the value before it. */
export function assignments(line: string): Record<string, string> {
  const found: Record<string, string> = {};
  let last = "";
  for (const piece of line.trim().split(/\s+/)) {
    const at = piece.indexOf("=");
    if (at > 0) {
      last = piece.slice(0, at);
      found[last] = piece.slice(at + 1);
    } else if (last) found[last] += ` ${piece}`;
  }
  return found;
}

export default function CloneDialog({ draft, onClose }: { /** Change the draft itself instead of a copy. */ draft: boolean; onClose: () => void }) {
  const { id, run } = usePlace();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [texts, setTexts] = useState<Record<string, string>>({});
  const [added, setAdded] = useState<{ name: string; text: string }[]>([]);
  const [quick, setQuick] = useState("");
  const [name, setName] = useState(run.name);
  const [queue, setQueue] = useState(run.queue || "default");
  const [environment, setEnvironment] = useState("");
  const [requirements, setRequirements] = useState("");
  const [code, setCode] = useState("");
  const [commit, setCommit] = useState("");
  const remote = text(record(run.facts.code).remote);
  const [gpus, setGpus] = useState(String(run.needs.gpus || ""));
  const [memory, setMemory] = useState(run.needs.memory ? String(Number((run.needs.memory / 1e9).toPrecision(6))) : "");
  const [cpus, setCpus] = useState(String(run.needs.cpus || ""));
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);

  const queues = useQuery({ queryKey: ["queues"], queryFn: ({ signal }) => api.get("/v1/queues", { signal }) });
  const others = useQuery({
    queryKey: ["runs", "code-of", run.project],
    queryFn: ({ signal }) => api.get("/v1/runs", { query: { project: run.project, limit: 30 }, signal }),
    enabled: !draft,
  });
  const known = run.params as Record<string, Param>;
  const typed = useMemo(() => assignments(quick), [quick]);
  const strange = Object.keys(typed).filter((key) => !(key in known));
  const changes = useMemo(() => {
    const found: Record<string, Param> = {};
    for (const [key, text] of Object.entries({ ...texts, ...typed })) {
      if (!(key in known)) continue;
      const next = parsed(text, known[key]);
      if (next !== known[key]) found[key] = next;
    }
    for (const { name: key, text } of added) if (key.trim()) found[key.trim()] = parsed(text, undefined);
    return found;
  }, [texts, typed, added, known]);
  const count = Object.keys(changes).length;
  const filter = quick.includes("=") ? "" : quick.trim().toLowerCase();
  const names = Object.keys(known).filter((key) => key.toLowerCase().includes(filter));
  const queueNames = [...new Set(["default", run.queue, ...(queues.data?.queues.map((one) => one.name) ?? [])].filter(Boolean))];

  const needs = { ...run.needs, gpus: Number(gpus) || 0, memory: Math.round((Number(memory) || 0) * 1e9), cpus: Number(cpus) || 0 };

  const send = async (enqueue: boolean) => {
    if (strange.length) return;
    if (code === COMMIT && !commit.trim()) return setProblem(new Problem(0, { message: "Say which commit.", field: "commit" }));
    setBusy(true);
    setProblem(null);
    try {
      let made = run;
      if (draft) {
        if (count || name !== run.name || JSON.stringify(needs) !== JSON.stringify(run.needs))
          made = await api.patch("/v1/runs/{run_id}", { params: { run_id: id }, body: { params: changes, needs, ...(name !== run.name ? { name } : {}) } });
      } else
        made = await api.post("/v1/runs/{run_id}/clone", {
          params: { run_id: id },
          body: { params: changes, name: name.trim() || run.name, environment, code, needs, requirements: requirements.split(/[\s,]+/).filter(Boolean), ...(code === COMMIT ? { code: "", commit: commit.trim() } : {}) },
        });
      if (enqueue)
        try {
          made = await api.post("/v1/runs/{run_id}/enqueue", { params: { run_id: made.id }, body: { queue } });
        } catch (error) {
          // the draft is there; let the person go on with it instead of making another one
          if (draft) throw error;
          toast({ text: `${error instanceof Problem ? error.message : String(error)} The copy is kept as a draft.`, bad: true });
        }
      client.setQueryData(["run", made.id], made);
      void client.invalidateQueries({ queryKey: ["runs"] });
      void client.invalidateQueries({ queryKey: ["run", id, "lineage"] });
      onClose();
      toast({ text: enqueue ? `${made.name} waits in the queue ${queue}` : draft ? "Saved" : `${made.name} is a draft` });
      if (!draft) void navigate({ to: "/runs/$run/{-$tab}", params: { run: made.id, tab: undefined } });
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, { message: String(error) }));
    } finally {
      setBusy(false);
    }
  };

  // what is typed into a parameter's own field ends what the box had set
  const retype = (key: string, text: string) => {
    if (key in typed) {
      const { [key]: _, ...rest } = typed;
      setTexts({ ...texts, ...rest, [key]: text });
      setQuick("");
    } else setTexts({ ...texts, [key]: text });
  };
  return (
    <Dialog
      open onClose={onClose} size="wide" title={draft ? `Edit ${run.name}` : `Clone ${run.name}`} onSubmit={() => void send(true)}
      actions={
        <>
          <Button onClick={() => void send(false)} disabled={busy}>
            {draft ? "Save" : "Keep as a draft"}
          </Button>
          <Button kind="primary" type="submit" icon="play" disabled={busy}>
            Enqueue{count ? ` with ${count} ${count === 1 ? "change" : "changes"}` : ""}
          </Button>
        </>
      }
    >
      <div className="stack">
        {problem && problem.field !== "commit" && (
          <Banner kind="bad">
            {problem.message} {problem.hint}
          </Banner>
        )}
        <div className={styles.fieldset}>
          <Field label="Name">{(aria) => <Input {...aria} value={name} onChange={(event) => setName(event.target.value)} />}</Field>
          <Field label="Queue" error={queues.error ? "The queues cannot be read now." : undefined}>
            {(aria) => (
              <Select {...aria} value={queue} onChange={(event) => setQueue(event.target.value)}>
                {queueNames.map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </Select>
            )}
          </Field>
          <Field label="GPUs">{(aria) => <Input {...aria} type="number" min={0} step={1} placeholder="any" value={gpus} onChange={(event) => setGpus(event.target.value)} />}</Field>
          <Field label="Memory, GB">{(aria) => <Input {...aria} type="number" min={0} step="any" placeholder="any" value={memory} onChange={(event) => setMemory(event.target.value)} />}</Field>
          <Field label="Processors">{(aria) => <Input {...aria} type="number" min={0} step="any" placeholder="any" value={cpus} onChange={(event) => setCpus(event.target.value)} />}</Field>
        </div>
        <section className={styles.section} aria-label="Parameters">
          <div className={styles.sectionHead}>
            <h3>Parameters</h3>
            <Button size="small" icon="plus" className="push" onClick={() => setAdded([...added, { name: "", text: "" }])}>
              Add
            </Button>
          </div>
          {Object.keys(known).length > 0 && (
            <Field label="Find or set a parameter" hideLabel error={strange.length ? `There is no parameter ${strange.join(", ")}. “Add” makes a new one.` : undefined}>
              {(aria) => (
                <Input
                  {...aria} data-focus className="mono" spellCheck={false} value={quick} placeholder={`Find, or set: ${Object.keys(known)[0]}=…`}
                  onChange={(event) => setQuick(event.target.value)}
                />
              )}
            </Field>
          )}
          {filter && !names.length && <p className="quiet small">No parameter’s name holds “{filter}”.</p>}
          {!Object.keys(known).length && !added.length && <p className="quiet small">This run has no recorded parameters. Add one to hand it to the script.</p>}
          <div className={styles.editParams}>
            {names.map((key) => (
              <ParamField key={key} name={key} before={known[key]!} text={typed[key] ?? texts[key]} onText={(text) => retype(key, text)} changed={key in changes} />
            ))}
            {added.map((one, index) => (
              <AddedField
                key={index} one={one} onChange={(next) => setAdded(added.map((other, at) => (at === index ? next : other)))}
                onRemove={() => setAdded(added.filter((_, at) => at !== index))}
              />
            ))}
          </div>
        </section>
        {!draft && (
          <div className={styles.fieldset}>
            <Field label="Code" hint="The code that is executed, with this run's command.">
              {(aria) => (
                <Select {...aria} value={code} onChange={(event) => setCode(event.target.value)}>
                  <option value="">As recorded{run.commit ? ` (${run.commit.slice(0, 8)})` : ""}</option>
                  {remote && <option value={COMMIT}>Another commit of its repository</option>}
                  {others.data?.runs
                    .filter((other) => other.id !== id)
                    .map((other) => (
                      <option key={other.id} value={other.id}>
                        {`of ${other.name} ${shortId(other.id)}${other.commit ? `, ${other.commit.slice(0, 8)}` : ""}`}
                      </option>
                    ))}
                </Select>
              )}
            </Field>
            {code === COMMIT && (
              <Field label="Commit" hint={`The whole hash of a commit that ${remote} has.`} error={problem?.field === "commit" ? problem.message : undefined}>
                {(aria) => <Input {...aria} className="mono" value={commit} spellCheck={false} maxLength={64} onChange={(event) => setCommit(event.target.value)} />}
              </Field>
            )}
            <Field label="Environment">
              {(aria) => (
                <Select {...aria} value={environment} onChange={(event) => setEnvironment(event.target.value)}>
                  <option value="">As for this run</option>
                  <option value="recorded">Built from the recorded packages</option>
                  <option value="inherit">The agent's own packages</option>
                </Select>
              )}
            </Field>
            <Field label="Additional packages" hint="Such as lightgbm>=4, on top of the recorded ones.">
              {(aria) => <Input {...aria} value={requirements} onChange={(event) => setRequirements(event.target.value)} spellCheck={false} />}
            </Field>
          </div>
        )}
      </div>
    </Dialog>
  );
}

function ParamField({ name, before, text, onText, changed }: { name: string; before: Param; text?: string; onText: (text: string) => void; changed: boolean }) {
  const id = `param-${name}`;
  return (
    <>
      <label htmlFor={id} className="mono">
        {name}
      </label>
      <Input
        id={id} className="mono" data-changed={changed} spellCheck={false} value={text ?? (before === null ? "null" : shown(before))}
        title={changed ? `was ${shown(before)}` : undefined} onChange={(event) => onText(event.target.value)}
      />
    </>
  );
}

function AddedField({ one, onChange, onRemove }: { one: { name: string; text: string }; onChange: (next: { name: string; text: string }) => void; onRemove: () => void }) {
  return (
    <>
      <Input aria-label="Name of the new parameter" className="mono" placeholder="name" value={one.name} onChange={(event) => onChange({ ...one, name: event.target.value })} />
      <span className="row">
        <Input aria-label="Its value" className="mono" placeholder="value" data-changed="true" value={one.text} onChange={(event) => onChange({ ...one, text: event.target.value })} />
        <IconButton icon="close" label="Leave it out" size="small" onClick={onRemove} />
      </span>
    </>
  );
}
