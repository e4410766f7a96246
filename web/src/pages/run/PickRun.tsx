import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { api } from "@/api/client";
import { shortId } from "@/format";
import { Button, Popover, SearchBox, SkeletonLines, StatusBadge, Time } from "@/ui";

import styles from "./run.module.css";

/** A button that opens a search for a run of the project, or of all projects. */
export function PickRun({ project, not, label, onPick }: { project: string; not: readonly string[]; label: string; onPick: (id: string) => void }) {
  const [open, setOpen] = useState(false);
  return (
    <Popover
      label={label} open={open} onOpenChange={setOpen} align="end"
      trigger={
        <Button icon="plus" size="small">
          {label}
        </Button>
      }
    >
      <Choices
        project={project} not={not}
        onPick={(id) => {
          setOpen(false);
          onPick(id);
        }}
      />
    </Popover>
  );
}

function Choices({ project, not, onPick }: { project: string; not: readonly string[]; onPick: (id: string) => void }) {
  const [text, setText] = useState("");
  const found = useQuery({
    queryKey: ["runs", "pick", project, text],
    queryFn: ({ signal }) => api.get("/v1/runs", { query: text ? { text, limit: 20 } : { project, limit: 20 }, signal }),
    placeholderData: keepPreviousData,
  });
  const runs = (found.data?.runs ?? []).filter((one) => !not.includes(one.id));
  return (
    <div className="stack" style={{ width: "min(26rem, 80vw)" }}>
      <SearchBox value={text} onChange={setText} label="Find a run by name, tag or number" focusKey="" />
      {found.error && <p className="small">{found.error.message}</p>}
      <div className={styles.list} style={{ maxHeight: "18rem" }}>
        {found.isPending && <SkeletonLines lines={4} />}
        {runs.map((one) => (
          <button key={one.id} type="button" className={styles.item} onClick={() => onPick(one.id)}>
            <StatusBadge status={one.status} label={false} />
            <span className="clip">{one.name}</span>
            <span className="mono quiet">{shortId(one.id)}</span>
            <span className="push quiet small">
              <Time at={one.created} tooltip={false} />
            </span>
          </button>
        ))}
        {!found.isPending && !runs.length && <p className="quiet small">No other run.</p>}
      </div>
    </div>
  );
}
