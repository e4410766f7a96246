// What can be done with the ticked runs, or with all that match: each with an undo where there is one.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";

import { api } from "@/api/client";
import { count, plural } from "@/format";
import { Button, Confirm, Dialog, Field, Icon, Input, Menu, Segments, Select, toast, toastProblem } from "@/ui";
import { useKeys } from "@/keys";
import { ShareDialog } from "./late";

import { changeMany, hideRows, type Order, type Outcome, type Question, type Target } from "./data";
import styles from "./runs.module.css";

export interface Ticked {
  /** The ticked runs; none of them is named where everything that matches is meant. */
  ids: Set<string>;
  all: boolean;
}
export const NOTHING: Ticked = { ids: new Set(), all: false };
const COMPARED = 50;

const SAID: Record<Order["action"], string> = {
  archive: "archived", unarchive: "brought back", tag: "tagged", untag: "untagged", delete: "deleted", stop: "asked to stop", enqueue: "put into the queue",
};
const UNDOES: Partial<Record<Order["action"], Order["action"]>> = { archive: "unarchive", unarchive: "archive", tag: "untag", untag: "tag" };

export function BulkBar({ ticked, total, exact, question, onClear, onAll }: {
  ticked: Ticked; total: number; exact: boolean; question: Question; onClear: () => void; onAll: () => void;
}) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [asking, setAsking] = useState<"tag" | "delete" | "stop" | "enqueue" | "archive" | "unarchive" | null>(null);
  const [sharing, setSharing] = useState(false);
  const [progress, setProgress] = useState<number | null>(null);
  const many = ticked.all ? total : ticked.ids.size;
  const said = ticked.all ? `all ${exact ? "" : "about "}${plural(total, "run")}` : plural(many, "run");
  const target: Target = ticked.all ? { question, count: total } : { ids: [...ticked.ids] };

  const perform = async (order: Order) => {
    setAsking(null);
    const hides = order.action === "delete" || (order.action === "archive" && !question.archived);
    if (hides && "ids" in target) hideRows(client, ticked.ids);
    if (many > 500) setProgress(0);
    try {
      const outcome = await changeMany(order, target, many > 500 ? setProgress : undefined);
      tell(order, outcome);
      if (hides) onClear();
    } catch (error) {
      toastProblem(error);
    } finally {
      setProgress(null);
      renew();
    }
  };
  const renew = () => {
    void client.invalidateQueries({ queryKey: ["runs"] });
    void client.invalidateQueries({ queryKey: ["run-facets"] });
  };
  const tell = (order: Order, { done, refused }: Outcome) => {
    const back = UNDOES[order.action];
    if (done.length || !refused.length)
      toast({
        text: done.length ? `${plural(done.length, "run")} ${SAID[order.action]}` : "Nothing to change: it was so already",
        undo: back && done.length ? () => changeMany({ ...order, action: back }, { ids: done }).then(renew) : undefined,
      });
    if (refused.length) {
      const first = refused[0]!;
      toast({ text: `${plural(refused.length, "run")} left as ${refused.length === 1 ? "it is" : "they are"}. ${first.name}: ${first.message}`, bad: true });
    }
  };
  const compare = () => void navigate({ to: "/compare", search: { runs: [...ticked.ids].slice(0, COMPARED).join(",") } });
  const comparable = !ticked.all && many >= 2;
  const active = many > 0;
  useKeys(
    {
      c: active ? { label: "Compare the ticked runs", run: () => (comparable ? compare() : toast({ text: "Tick two runs or more to compare them" })) } : undefined,
      Escape: active ? { label: "Untick all", run: onClear } : undefined,
    },
    { scope: "Runs" },
  );
  if (!active && progress === null) return null;
  return (
    <div className={styles.bulk} role="toolbar" aria-label="Ticked runs">
      <span className={styles.bulkCount} role="status">
        {progress === null ? `${ticked.all ? `All ${exact ? "" : "≈ "}${count(total)}` : count(many)} ticked` : `${count(progress)} of ${count(many)} done…`}
      </span>
      {!ticked.all && total > many && (
        <Button kind="quiet" size="small" onClick={onAll}>
          Tick all {exact ? "" : "≈ "}
          {count(total)}
        </Button>
      )}
      <Button
        kind="primary" size="small" icon="compare" disabled={!comparable} onClick={compare}
        title={ticked.all ? "Tick up to 50 runs to compare them" : many < 2 ? "Tick one more" : "Compare (c)"}
      >
        Compare
      </Button>
      <Button size="small" icon="tag" onClick={() => setAsking("tag")}>
        Tag
      </Button>
      <Button size="small" icon="archive" onClick={() => (ticked.all ? setAsking("archive") : void perform({ action: "archive" }))}>
        Archive
      </Button>
      <Menu
        items={[
          { label: "Bring back from the archive", icon: "undo", onSelect: () => (ticked.all ? setAsking("unarchive") : void perform({ action: "unarchive" })) },
          { label: "Put drafts into a queue…", icon: "play", onSelect: () => setAsking("enqueue") },
          { label: "Stop…", icon: "stop", onSelect: () => setAsking("stop") },
          { label: "Share without sign-in…", icon: "share", disabled: ticked.all || many > COMPARED, onSelect: () => setSharing(true) },
          "separator",
          { label: "Delete…", icon: "trash", danger: true, onSelect: () => setAsking("delete") },
        ]}
      >
        <Button size="small">
          More
          <Icon name="chevronDown" size={14} />
        </Button>
      </Menu>
      <Button kind="quiet" size="small" onClick={onClear}>
        Untick
      </Button>
      <Confirm open={asking === "delete"} title={`Delete ${said}?`} action="Delete for good" onClose={() => setAsking(null)} onConfirm={() => void perform({ action: "delete" })}>
        Their metrics, console and artifacts go with them. This cannot be undone; archiving only hides them.
      </Confirm>
      <Confirm open={asking === "stop"} title={`Stop ${said}?`} action="Stop" onClose={() => setAsking(null)} onConfirm={() => void perform({ action: "stop" })}>
        Those that wait leave their queue; those that run end at their next word, and what they have logged stays.
      </Confirm>
      <Confirm
        open={asking === "archive" || asking === "unarchive"} danger={false} title={asking === "unarchive" ? `Bring back ${said}?` : `Archive ${said}?`}
        action={asking === "unarchive" ? "Bring back" : "Archive"} onClose={() => setAsking(null)}
        onConfirm={() => void perform({ action: asking === "unarchive" ? "unarchive" : "archive" })}
      >
        This can be undone.
      </Confirm>
      {asking === "tag" && <TagDialog said={said} onClose={() => setAsking(null)} onDone={(action, tags) => void perform({ action, tags })} />}
      {asking === "enqueue" && <QueueDialog said={said} onClose={() => setAsking(null)} onDone={(queue) => void perform({ action: "enqueue", queue })} />}
      {sharing && (
        <ShareDialog open onClose={() => setSharing(false)} target={many === 1 ? { kind: "run", runs: [[...ticked.ids][0]!] } : { kind: "comparison", runs: [...ticked.ids] }} />
      )}
    </div>
  );
}

function TagDialog({ said, onDone, onClose }: { said: string; onDone: (action: "tag" | "untag", tags: string[]) => void; onClose: () => void }) {
  const [text, setText] = useState("");
  const [way, setWay] = useState<"tag" | "untag">("tag");
  const [problem, setProblem] = useState("");
  const tags = useQuery({
    queryKey: ["run-facets", "tags"],
    queryFn: ({ signal }) => api.get("/v1/runs/facets", { query: { of: "tags", limit: 100 }, signal }),
  });
  return (
    <Dialog
      open onClose={onClose} title={`Tag ${said}`}
      onSubmit={() => {
        const given = text.split(",").map((tag) => tag.trim()).filter(Boolean);
        if (given.length) onDone(way, given);
        else setProblem("Write at least one tag.");
      }}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit">
            {way === "tag" ? "Add" : "Remove"}
          </Button>
        </>
      }
    >
      <div className="stack">
        <Segments label="Add or remove" value={way} onChange={setWay} options={[{ id: "tag", label: "Add" }, { id: "untag", label: "Remove" }]} />
        <Field label="Tags" hint="Several with commas between them" error={problem}>
          {(aria) => <Input {...aria} data-focus list="known-tags" value={text} onChange={(event) => setText(event.target.value)} />}
        </Field>
        <datalist id="known-tags">
          {tags.data?.facets[0]?.top.map((one) => <option key={String(one.value)} value={String(one.value)} />)}
        </datalist>
      </div>
    </Dialog>
  );
}

function QueueDialog({ said, onDone, onClose }: { said: string; onDone: (queue: string) => void; onClose: () => void }) {
  const queues = useQuery({ queryKey: ["queues", "list"], queryFn: ({ signal }) => api.get("/v1/queues", { signal }) });
  const names = [...new Set(["default", ...(queues.data?.queues ?? []).map((queue) => queue.name)])];
  const [queue, setQueue] = useState("default");
  return (
    <Dialog
      open onClose={onClose} title={`Put ${said} into a queue`} onSubmit={() => onDone(queue)}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit">
            Enqueue
          </Button>
        </>
      }
    >
      <Field label="Queue" hint="Only drafts can wait in a queue; the others stay as they are. Clone a run to execute it again.">
        {(aria) => (
          <Select {...aria} value={queue} onChange={(event) => setQueue(event.target.value)}>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </Select>
        )}
      </Field>
    </Dialog>
  );
}
