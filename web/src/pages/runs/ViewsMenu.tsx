// Named views: open one, keep the present one, share it, bring it up to date, delete it.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { api, type Schemas } from "@/api/client";
import { Button, Checkbox, Confirm, copyText, Dialog, Field, Input, Menu, toast, toastProblem } from "@/ui";

type View = Schemas["View"];

export function ViewsMenu({ project, current, text, onOpen, onShare }: {
  project: string; current: string; text: string; onOpen: (id: string) => void; onShare: () => void;
}) {
  const client = useQueryClient();
  const [saving, setSaving] = useState(false);
  const [deleting, setDeleting] = useState<View | null>(null);
  const list = useQuery({
    queryKey: ["views", "list", project],
    queryFn: ({ signal }) => api.get("/v1/views", { query: { page: "runs", project }, signal }),
    staleTime: 30_000,
  });
  const me = useQuery({ queryKey: ["whoami"], queryFn: ({ signal }) => api.get("/v1/whoami", { signal }), staleTime: Infinity });
  const views = list.data?.views ?? [];
  const open = views.find((view) => view.id === current);
  const changed = open !== undefined && text !== "" && text !== open.state;
  const mine = open?.user === me.data?.user;
  const renew = () => client.invalidateQueries({ queryKey: ["views"] });

  const update = async (changes: { state?: string; shared?: boolean }, said: string) => {
    try {
      await api.patch("/v1/views/{view_id}", { params: { view_id: current }, body: changes });
      await renew();
      if (changes.state) onOpen(current);
      toast({ text: said });
    } catch (error) {
      toastProblem(error);
    }
  };
  const link = async () => {
    try {
      const kept = open && !changed ? open : await api.post("/v1/views", { body: { state: text || "sort=", page: "runs", project } });
      const address = new URL(window.location.pathname, window.location.origin);
      address.searchParams.set("view", kept.id);
      const done = await copyText(address.href);
      toast(done ? { text: "Copied a link to these rows, for colleagues who can sign in" } : { text: address.href, seconds: 30 });
    } catch (error) {
      toastProblem(error);
    }
  };
  const shared = views.filter((view) => view.shared);
  const own = views.filter((view) => !view.shared);
  const item = (view: View) => ({ label: view.name, checked: view.id === current, hint: view.user === me.data?.user ? "" : view.user, onSelect: () => onOpen(view.id) });
  return (
    <>
      <Menu
        items={[
          ...(shared.length ? [{ heading: "Shared" }, ...shared.map(item)] : []),
          ...(own.length ? [{ heading: "Only yours" }, ...own.map(item)] : []),
          views.length > 0 && "separator",
          changed && mine && { label: `Update “${open.name}”`, icon: "check" as const, onSelect: () => void update({ state: text }, `“${open.name}” shows this now`) },
          { label: "Save as a view…", icon: "plus" as const, onSelect: () => setSaving(true) },
          Boolean(open && mine) && {
            label: open?.shared ? "Stop sharing this view" : "Share this view with everybody", icon: "share" as const,
            onSelect: () => void update({ shared: !open?.shared }, open?.shared ? "Only you see it in the list now" : "Everybody finds it in this list now"),
          },
          { label: "Copy a short link", icon: "link" as const, onSelect: () => void link() },
          { label: "Share without sign-in…", icon: "external" as const, onSelect: onShare },
          Boolean(open && mine) && { label: `Delete “${open?.name}”…`, icon: "trash" as const, danger: true, onSelect: () => setDeleting(open ?? null) },
        ]}
      >
        <Button icon="star">{open ? `${open.name}${changed ? " (changed)" : ""}` : "Views"}</Button>
      </Menu>
      {saving && (
        <SaveView
          project={project} text={text}
          onClose={() => setSaving(false)}
          onSaved={(view) => {
            setSaving(false);
            client.setQueryData(["views", "one", view.id], view);
            void renew();
            onOpen(view.id);
            toast({ text: `Saved “${view.name}”` });
          }}
        />
      )}
      <Confirm
        open={deleting !== null} title={`Delete the view “${deleting?.name ?? ""}”?`} action="Delete" onClose={() => setDeleting(null)}
        onConfirm={() => {
          const view = deleting!;
          setDeleting(null);
          api
            .delete("/v1/views/{view_id}", { params: { view_id: view.id } })
            .then(() => {
              void renew();
              onOpen("");
              toast({
                text: `Deleted “${view.name}”`,
                undo: async () => {
                  await api.post("/v1/views", { body: { name: view.name, state: view.state, page: view.page, project: view.project ?? "", shared: view.shared } });
                  void renew();
                },
              });
            })
            .catch(toastProblem);
        }}
      >
        The runs stay; only this way of looking at them goes.
      </Confirm>
    </>
  );
}

function SaveView({ project, text, onSaved, onClose }: { project: string; text: string; onSaved: (view: View) => void; onClose: () => void }) {
  const [name, setName] = useState("");
  const [shared, setShared] = useState(true);
  const [problem, setProblem] = useState("");
  const save = async () => {
    if (!name.trim()) return setProblem("A view needs a name.");
    try {
      onSaved(await api.post("/v1/views", { body: { name: name.trim(), shared, state: text || "sort=", page: "runs", project } }));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <Dialog
      open onClose={onClose} title="Save these rows and columns as a view" onSubmit={() => void save()}
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
        <Field label="Name" error={problem} hint="Filter, order, columns, groups and baseline are kept.">
          {(aria) => <Input {...aria} data-focus value={name} maxLength={200} placeholder="leaderboard" onChange={(event) => setName(event.target.value)} />}
        </Field>
        <Checkbox label="Everybody finds it in the list" checked={shared} onChange={(event) => setShared(event.target.checked)} />
      </div>
    </Dialog>
  );
}
