// Runs that are not comparable since a parameter chose other data: run the others again with the same one.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { api } from "@/api/client";
import { plural, value } from "@/format";
import { Button, Dialog, Field, Select, toast, toastProblem } from "@/ui";

import type { Comparison, Mismatch, State } from "./data";

export function Again({ mismatch, comparison, state, onClose }: { mismatch: Mismatch; comparison: Comparison; state: State; onClose: () => void }) {
  const client = useQueryClient();
  const choices = [...new Map(mismatch.values.filter((one) => one !== null).map((one) => [JSON.stringify(one), one])).values()];
  const at = (id: string) => comparison.runs.findIndex((run) => run.id === id);
  const [chosen, setChosen] = useState(JSON.stringify(mismatch.values[at(state.base)] ?? choices[0]));
  const [queue, setQueue] = useState("default");
  const queues = useQuery({ queryKey: ["queues", "names"], queryFn: ({ signal }) => api.get("/v1/queues", { signal }) });
  const others = comparison.runs.filter((_, index) => JSON.stringify(mismatch.values[index]) !== chosen);
  const start = useMutation({
    mutationFn: async () => {
      const setting = JSON.parse(chosen) as string;
      const replaced = new Map<string, string>();
      for (const run of others) {
        const copy = await api.post("/v1/runs/{run_id}/clone", { params: { run_id: run.id }, body: { params: { [mismatch.param!]: setting } } });
        await api.post("/v1/runs/{run_id}/enqueue", { params: { run_id: copy.id }, body: { queue } });
        replaced.set(run.id, copy.id);
      }
      return replaced;
    },
    onSuccess: (replaced) => {
      const runs = state.ids.map((id) => replaced.get(id) ?? id).join(",");
      toast({ text: `${plural(replaced.size, "run")} waits in ${queue}.`.replace("runs waits", "runs wait"), action: { label: "Compare the new ones", run: () => state.change({ runs, base: undefined, a: undefined, b: undefined, picked: undefined }) }, seconds: 15 });
      onClose();
    },
    onError: toastProblem,
    onSettled: () => client.invalidateQueries({ queryKey: ["runs"] }),
  });
  const names = [...new Set(["default", ...(queues.data?.queues ?? []).map((one) => one.name)])];
  return (
    <Dialog
      open onClose={onClose} title="Run again on the same data" onSubmit={() => start.mutate()}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={start.isPending || !others.length}>
            Run {plural(others.length, "copy", "copies")}
          </Button>
        </>
      }
    >
      <div className="stack">
        <p>Runs with another value are cloned with this one and put into a queue; nothing else of them changes.</p>
        <Field label={mismatch.name}>
          {(aria) => (
            <Select {...aria} value={chosen} onChange={(event) => setChosen(event.target.value)}>
              {choices.map((one) => (
                <option key={JSON.stringify(one)} value={JSON.stringify(one)}>
                  {value(one)}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label="Queue">
          {(aria) => (
            <Select {...aria} value={queue} onChange={(event) => setQueue(event.target.value)}>
              {names.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
          )}
        </Field>
      </div>
    </Dialog>
  );
}
