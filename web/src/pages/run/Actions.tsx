// What one does with a run: clone and edit, enqueue a draft, stop, publish, archive, share, delete.
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useState } from "react";

import { api } from "@/api/client";
import { useKeys } from "@/keys";
import { Button, Confirm, IconButton, Menu, toast, toastProblem } from "@/ui";

import { FINAL, usePlace } from "./context";
import type { Run } from "./words";

const CloneDialog = lazy(() => import("./CloneDialog"));
const ShareDialog = lazy(() => import("../share/ShareDialog").then((module) => ({ default: module.ShareDialog })));

type Asked = "" | "clone" | "enqueue" | "stop" | "publish" | "delete" | "reset" | "share";

export function Actions() {
  const { id, run, panel, values, change } = usePlace();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [asked, ask] = useState<Asked>("");
  const [busy, setBusy] = useState(false);
  const close = () => ask("");
  const wanted = values.clone === "1";
  useEffect(() => {
    // from the palette and the table of runs; a second load, or Back, shall not ask again
    if (!wanted) return;
    ask("clone");
    change({ clone: undefined }, { replace: true });
  }, [wanted, change]);

  const perform = async (work: () => Promise<Run | void>, done?: () => void) => {
    setBusy(true);
    try {
      const told = await work();
      if (told) client.setQueryData(["run", id], told);
      void client.invalidateQueries({ queryKey: ["runs"] });
      void client.invalidateQueries({ queryKey: ["run", id, "events"] });
      close();
      done?.();
    } catch (error) {
      toastProblem(error);
    } finally {
      setBusy(false);
    }
  };
  const params = { run_id: id };
  const archive = (archived: boolean): void =>
    void perform(
      () => api.patch("/v1/runs/{run_id}", { params, body: { archived } }),
      () => toast({ text: archived ? "Archived: hidden from lists" : "Back in the lists", undo: () => archive(!archived) }),
    );
  const going = run.status === "running" || run.status === "queued" || run.status === "lost";
  useKeys(panel ? {} : { e: { label: "Clone and edit", run: () => ask("clone") } }, { scope: "Run" });

  return (
    <>
      {going && run.status !== "lost" && (
        <Button icon="stop" onClick={() => ask("stop")}>
          Stop
        </Button>
      )}
      {run.status === "draft" ? (
        <Button kind="primary" icon="play" onClick={() => ask("enqueue")}>
          Edit & enqueue
        </Button>
      ) : (
        <Button kind={FINAL.has(run.status) ? "primary" : "plain"} icon="copy" onClick={() => ask("clone")}>
          Clone & edit
        </Button>
      )}
      <Button icon="share" onClick={() => ask("share")}>
        Share
      </Button>
      <Menu
        align="end"
        items={[
          run.status === "draft" && { label: "Clone & edit", icon: "copy", onSelect: () => ask("clone") },
          { label: run.archived ? "Bring back from the archive" : "Archive", icon: "archive", disabled: run.published, onSelect: () => archive(!run.archived) },
          { label: "Publish: lock for good", icon: "pin", disabled: run.published || !FINAL.has(run.status), onSelect: () => ask("publish") },
          { label: "Make a draft again", icon: "undo", disabled: run.published || !(FINAL.has(run.status) || run.status === "lost"), onSelect: () => ask("reset") },
          "separator",
          { label: "Delete", icon: "trash", danger: true, disabled: run.published, onSelect: () => ask("delete") },
        ]}
      >
        <IconButton icon="more" label="More actions" kind="plain" tooltip={false} />
      </Menu>
      <Suspense fallback={null}>
        {(asked === "clone" || asked === "enqueue") && <CloneDialog draft={asked === "enqueue"} onClose={close} />}
        {asked === "share" && <ShareDialog open onClose={close} target={{ kind: "run", runs: [id] }} />}
      </Suspense>
      <Confirm
        open={asked === "stop"} onClose={close} busy={busy} title={`Stop ${run.name}?`} action="Stop the run"
        onConfirm={() =>
          void perform(() => api.post("/v1/runs/{run_id}/stop", { params, body: {} }), () =>
            toast({ text: run.status === "queued" ? "Taken out of the queue" : "Asked to stop: it keeps a last checkpoint where it can" }))}
      >
        <p>{run.status === "queued" ? "It leaves its queue at once." : "It is asked to stop, may keep a last checkpoint, and ends. What was recorded stays."}</p>
      </Confirm>
      <Confirm
        open={asked === "publish"} onClose={close} busy={busy} danger={false} title={`Publish ${run.name}?`} action="Publish"
        onConfirm={() => void perform(() => api.post("/v1/runs/{run_id}/publish", { params }), () => toast({ text: "Published" }))}
      >
        <p>Nothing of it can be changed or deleted any more, not even its name. This cannot be undone.</p>
      </Confirm>
      <Confirm
        open={asked === "reset"} onClose={close} busy={busy} title="Make this run a draft again?" action="Remove its results"
        onConfirm={() => void perform(() => api.post("/v1/runs/{run_id}/reset", { params }), () => toast({ text: "A draft again" }))}
      >
        <p>Its code and parameters stay; metrics, console and artifacts are removed. This cannot be undone.</p>
      </Confirm>
      <Confirm
        open={asked === "delete"} onClose={close} busy={busy} title={`Delete ${run.name}?`} action="Delete"
        onConfirm={() =>
          void perform(
            async () => {
              await api.delete("/v1/runs/{run_id}", { params });
            },
            () => {
              toast({ text: `${run.name} is deleted` });
              void navigate({ to: "/projects/$project", params: { project: run.project } });
            },
          )}
      >
        <p>The run goes with its metrics, console and artifacts. This cannot be undone; archiving only hides it.</p>
      </Confirm>
    </>
  );
}
