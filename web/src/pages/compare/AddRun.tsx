// Another run for the comparison: found by its name, a tag or a remembered number.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { api } from "@/api/client";
import { relative } from "@/format";
import { Button, Popover, SearchBox } from "@/ui";

import styles from "./compare.module.css";
import type { State } from "./data";
import { MOST } from "./opening";

export function AddRun({ state, project }: { state: State; project: string }) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState("");
  const query = useQuery({
    queryKey: ["runs", "to add", project, text],
    queryFn: ({ signal }) => api.get("/v1/runs", { query: { text, project, limit: 12 }, signal }),
    enabled: open,
    placeholderData: keepPreviousData,
  });
  const found = (query.data?.runs ?? []).filter((run) => !state.ids.includes(run.id)).slice(0, 8);
  return (
    <Popover
      open={open} onOpenChange={setOpen} label="Add a run"
      trigger={
        <Button icon="plus" disabled={state.ids.length >= MOST}>
          Add a run
        </Button>
      }
    >
      <SearchBox value={text} onChange={setText} label="Name, tag or number" focusKey="" />
      <div className={styles.found}>
        {found.map((run) => (
          <button key={run.id} type="button" onClick={() => { state.change({ runs: [...state.ids, run.id].join(",") }); setOpen(false); }}>
            <span>{run.name}</span> <span className="quiet small">{run.id.slice(-8)} · {relative(run.created)}</span>
          </button>
        ))}
        {query.data && !found.length && <p className="quiet small">No other run is found.</p>}
      </div>
    </Popover>
  );
}
