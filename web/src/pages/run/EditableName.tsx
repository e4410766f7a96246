import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { api } from "@/api/client";
import { IconButton, Input, toast, toastProblem } from "@/ui";

import { usePlace } from "./context";

/** The run's name, which may be changed as long as the run is not published. */
export function EditableName({ level }: { level: 1 | 2 }) {
  const { id, run } = usePlace();
  const client = useQueryClient();
  const [draft, setDraft] = useState<string | null>(null);
  const Heading = `h${level}` as "h1";
  const rename = async (name: string, from: string) => {
    client.setQueryData(["run", id], { ...run, name });
    try {
      client.setQueryData(["run", id], await api.patch("/v1/runs/{run_id}", { params: { run_id: id }, body: { name } }));
      toast({ text: `Renamed to ${name}`, undo: () => rename(from, name) });
    } catch (error) {
      client.setQueryData(["run", id], { ...run, name: from });
      toastProblem(error);
    }
  };
  if (draft === null)
    return (
      <>
        <Heading>{run.name}</Heading>
        {!run.published && <IconButton icon="edit" label="Rename" size="small" onClick={() => setDraft(run.name)} />}
      </>
    );
  return (
    <>
      <Heading className="hidden">{run.name}</Heading>
      <form
        className="row"
        onSubmit={(event) => {
          event.preventDefault();
          const name = draft.trim();
          setDraft(null);
          if (name && name !== run.name) void rename(name, run.name);
        }}
      >
        <Input
          aria-label="Name of the run" value={draft} autoFocus onChange={(event) => setDraft(event.target.value)}
          onKeyDown={(event) => event.key === "Escape" && (event.stopPropagation(), setDraft(null))}
        />
        <IconButton icon="check" label="Save the name" type="submit" />
      </form>
    </>
  );
}
