import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { api, Problem } from "@/api/client";
import { Button, Dialog, Field, Input, ProblemBanner, SkeletonLines, toast } from "@/ui";

import type { Who } from "./index";
import styles from "./settings.module.css";

/** Who works here, and in which team; queues with shares give each team its part. */
export function People({ who }: { who: Who }) {
  const { data, error, refetch } = useQuery({ queryKey: ["users"], queryFn: ({ signal }) => api.get("/v1/users", { signal }) });
  const [editing, setEditing] = useState<{ name: string; team: string } | null>(null);
  if (error && !data) return <ProblemBanner error={error} retry={() => void refetch()} />;
  if (!data) return <SkeletonLines lines={5} />;
  return (
    <div className="stack">
      <h2>People</h2>
      <p className="quiet small">Somebody new is here as soon as an admin makes a token for them. Queues with shares give each team its part.</p>
      <div className={styles.scroll} tabIndex={0} role="region" aria-label="People">
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">User</th>
              <th scope="col">Role</th>
              <th scope="col">Team</th>
              {who.role === "admin" && (
                <th scope="col">
                  <span className="hidden">Change</span>
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {data.users.map((user) => (
              <tr key={user.name}>
                <td className={styles.what}>
                  {user.name}
                  {user.name === who.user && <span className={styles.current}>you</span>}
                </td>
                <td>{user.role}</td>
                <td>{user.team || <span className="quiet">none</span>}</td>
                {who.role === "admin" && (
                  <td>
                    <Button size="small" onClick={() => setEditing({ name: user.name, team: user.team ?? "" })} aria-label={`Change the team of ${user.name}`}>
                      Team
                    </Button>
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {editing && <Team key={editing.name} user={editing} onClose={() => setEditing(null)} />}
    </div>
  );
}

function Team({ user, onClose }: { user: { name: string; team: string }; onClose: () => void }) {
  const [team, setTeam] = useState(user.team);
  const client = useQueryClient();
  const send = (to: string) => api.patch("/v1/users/{user}", { params: { user: user.name }, body: { team: to } });
  const look = () => client.invalidateQueries({ queryKey: ["users"] });
  const save = useMutation({
    mutationFn: () => send(team.trim()),
    onSuccess: () => {
      onClose();
      toast({
        text: team.trim() ? `${user.name} is in ${team.trim()} now` : `${user.name} is in no team now`,
        undo: async () => {
          await send(user.team);
          await look();
        },
      });
    },
    onSettled: look,
  });
  return (
    <Dialog
      open onClose={onClose} onSubmit={() => save.mutate()} title={`The team of ${user.name}`}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={save.isPending}>
            Save
          </Button>
        </>
      }
    >
      <Field label="Team" hint="Empty: none" error={save.error instanceof Problem ? save.error.message : undefined}>
        {(aria) => <Input {...aria} data-focus value={team} onChange={(event) => setTeam(event.target.value)} />}
      </Field>
    </Dialog>
  );
}
