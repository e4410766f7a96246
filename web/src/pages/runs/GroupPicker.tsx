// By what runs are grouped: the means then stand for all runs that agree in it.
import { useQuery } from "@tanstack/react-query";

import { api } from "@/api/client";
import { Button, Checkbox, Dialog, SkeletonLines } from "@/ui";

import { parseParts } from "./names";
import styles from "./runs.module.css";

const FIELDS = ["user", "status", "project", "kind", "host", "branch", "commit"];
const MOST = 20;
const SEED = /(^|[._/])(random_?)?(seeds?|state)$/i;

export function GroupPicker({ open, project, group, onChange, onClose }: { open: boolean; project: string; group: string[]; onChange: (group: string[]) => void; onClose: () => void }) {
  const names = useQuery({
    queryKey: ["run-names", project, "param"],
    queryFn: ({ signal }) => api.get("/v1/runs/names", { query: { project, kind: "param", limit: 60 }, signal }),
    enabled: open,
    staleTime: 60_000,
  });
  const params = names.data?.names ?? [];
  const differing = params.filter((one) => (one.values ?? 0) > 1);
  const others = differing.filter((one) => !SEED.test(one.name)).map((one) => one.text);
  const toggle = (name: string) => onChange(group.includes(name) ? group.filter((one) => one !== name) : [...group, name]);
  const gone = group.filter((name) => !FIELDS.includes(name) && !params.some((one) => one.text === name));
  return (
    <Dialog
      open={open} onClose={onClose} title="Group runs"
      actions={
        <>
          <Button disabled={!group.length} onClick={() => onChange([])}>
            No groups
          </Button>
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        </>
      }
    >
      <div className="stack">
        <p className="quiet small">Runs that agree in all of these become one row: the mean of each metric with its 95 % interval and the number of runs, over all that match.</p>
        {others.length > 0 && others.length <= MOST && differing.length > others.length && (
          <div>
            <Button onClick={() => onChange(others)}>All that differs but the seed</Button>
          </div>
        )}
        {names.isPending && open && <SkeletonLines lines={4} />}
        {[...gone.map((text) => ({ text, values: 0 })), ...params].length > 0 && (
          <fieldset className={styles.facet}>
            <legend>Parameters</legend>
            {gone.map((text) => (
              <Checkbox key={text} label={parseParts(text).label} checked onChange={() => toggle(text)} />
            ))}
            {[...differing, ...params.filter((one) => (one.values ?? 0) <= 1)].map((one) => (
              <Checkbox
                key={one.text} checked={group.includes(one.text)} onChange={() => toggle(one.text)} disabled={group.length >= MOST && !group.includes(one.text)}
                label={<>{one.name} <span className="quiet">{one.values === 1 ? "the same in all" : `${one.values} values`}</span></>}
              />
            ))}
          </fieldset>
        )}
        <fieldset className={styles.facet}>
          <legend>About the run</legend>
          {FIELDS.map((name) => (
            <Checkbox key={name} label={name} checked={group.includes(name)} onChange={() => toggle(name)} />
          ))}
        </fieldset>
      </div>
    </Dialog>
  );
}
