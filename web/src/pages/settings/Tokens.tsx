import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { api, Problem, type Answer } from "@/api/client";
import { useAddress } from "@/nav";
import { Banner, Button, Checkbox, Code, Confirm, Dialog, Empty, Field, Input, ProblemBanner, Select, SkeletonLines, Time, toast, toastProblem } from "@/ui";

import type { Who } from "./index";
import styles from "./settings.module.css";

type Token = Answer<"/v1/tokens", "get">["tokens"][number];
const ROLES = ["viewer", "contributor", "maintainer", "admin"] as const;
type Role = (typeof ROLES)[number];
const MAY: Record<Role, string> = { viewer: "look", contributor: "record and run", maintainer: "steer queues and agents", admin: "everything" };
const SOON = 7 * 86400 * 1e6;

export function Tokens({ who }: { who: Who }) {
  const [search, change] = useAddress();
  const [ending, setEnding] = useState<Token | null>(null);
  const client = useQueryClient();
  const admin = who.role === "admin";
  const mine = search.whose !== "all";
  const { data, error, refetch } = useQuery({ queryKey: ["tokens"], queryFn: ({ signal }) => api.get("/v1/tokens", { signal }) });
  const end = useMutation({
    mutationFn: (token: Token) => api.delete("/v1/tokens/{token_id}", { params: { token_id: token.id } }),
    onSuccess: (_, token) => void toast({ text: `${titleOf(token)} is worth nothing any more` }),
    onError: toastProblem,
    onSettled: () => {
      setEnding(null);
      return client.invalidateQueries({ queryKey: ["tokens"] });
    },
  });
  if (error && !data) return <ProblemBanner error={error} retry={() => void refetch()} />;
  const shown = (data?.tokens ?? []).filter((token) => !mine || token.user === who.user).reverse();
  return (
    <div className="stack">
      <div className="row">
        <h2>{mine ? "Your tokens" : "All tokens"}</h2>
        {admin && <Checkbox label="Those of others, too" checked={!mine} onChange={(event) => change({ whose: event.target.checked ? "all" : undefined }, { replace: true })} />}
        <Button kind="primary" icon="plus" className="push" onClick={() => change({ new: "1" })}>
          New token
        </Button>
      </div>
      <p className="quiet small">A token lets a script, a machine or a colleague’s terminal speak in your name. Give each its own, so that one can be ended without the others.</p>
      {!data ? (
        <SkeletonLines lines={4} />
      ) : shown.length === 0 ? (
        <Empty title="No tokens" level={3}>
          <p>A machine that records runs needs one.</p>
        </Empty>
      ) : (
        <div className={styles.scroll} tabIndex={0} role="region" aria-label="Tokens">
          <table className={styles.table}>
            <thead>
              <tr>
                <th scope="col">For</th>
                {!mine && <th scope="col">User</th>}
                <th scope="col">May</th>
                <th scope="col">Last used</th>
                <th scope="col">Expires</th>
                <th scope="col">
                  <span className="hidden">End it</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((token) => (
                <tr key={token.id}>
                  <td className={styles.what}>
                    {token.name || <span className="quiet">no name</span>}
                    {token.id === who.token && <span className={styles.current}>this sign-in</span>}
                  </td>
                  {!mine && <td>{token.user}</td>}
                  <td>
                    {token.role} <span className="quiet small">{MAY[token.role as Role]}</span>
                  </td>
                  <td>{token.last_used ? <Time at={token.last_used} /> : <span className="quiet">never</span>}</td>
                  <td className={token.expires < Date.now() * 1000 + SOON ? styles.soon : undefined}>
                    <Time at={token.expires} />
                  </td>
                  <td>
                    <Button size="small" onClick={() => setEnding(token)} aria-label={`Revoke ${titleOf(token)}`}>
                      Revoke
                    </Button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {search.new === "1" && <NewToken who={who} onClose={() => change({ new: undefined }, { replace: true })} />}
      <Confirm open={ending !== null} onClose={() => setEnding(null)} title={`Revoke ${ending ? titleOf(ending) : ""}?`} action="Revoke it" busy={end.isPending} onConfirm={() => ending && end.mutate(ending)}>
        <p>
          {ending?.id === who.token
            ? "This browser is signed in by it: you will have to sign in again. "
            : ending?.last_used
              ? "Whatever speaks by it is refused from now on. "
              : "It was never used. "}
          This cannot be undone.
        </p>
      </Confirm>
    </div>
  );
}

function titleOf(token: Token): string {
  return token.name ? `“${token.name}”` : `the token of ${token.user}`;
}

function NewToken({ who, onClose }: { who: Who; onClose: () => void }) {
  const allowed = ROLES.slice(0, ROLES.indexOf(who.role as Role) + 1);
  const [name, setName] = useState("");
  const [user, setUser] = useState("");
  const [role, setRole] = useState<Role>(allowed.includes("contributor") ? "contributor" : "viewer");
  const [days, setDays] = useState("90");
  const client = useQueryClient();
  const issue = useMutation({
    mutationFn: () => api.post("/v1/tokens", { body: { user: user.trim(), role, name: name.trim(), days: Number(days) } }),
    onSettled: () => client.invalidateQueries({ queryKey: ["tokens"] }),
  });
  const problem = issue.error instanceof Problem ? issue.error : null;
  const at = (field: string) => (problem?.field === field ? problem.message : undefined);
  if (issue.data)
    return (
      <Dialog
        open onClose={onClose} title="The new token"
        actions={
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        }
      >
        <div className="stack">
          <Banner kind="warn">It is shown this once. Put it where it belongs before you close this.</Banner>
          <Code label="The token">{issue.data.secret}</Code>
          <p className="small quiet">On the machine that shall use it:</p>
          <Code label="Log in with it">{`larder login ${location.origin} --token ${issue.data.secret}`}</Code>
        </div>
      </Dialog>
    );
  return (
    <Dialog
      open onClose={onClose} onSubmit={() => issue.mutate()} title="New token"
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={issue.isPending}>
            Make it
          </Button>
        </>
      }
    >
      <div className="stack">
        {problem && !["user", "role", "name", "days"].includes(problem.field) && <ProblemBanner error={problem} />}
        <Field label="What it is for" hint="Such as the name of the machine" error={at("name")}>
          {(aria) => <Input {...aria} data-focus value={name} maxLength={200} onChange={(event) => setName(event.target.value)} />}
        </Field>
        {who.role === "admin" && (
          <Field label="For whom" hint="Empty: for you. A user that does not exist yet is made." error={at("user")}>
            {(aria) => <Input {...aria} value={user} placeholder={who.user} onChange={(event) => setUser(event.target.value)} />}
          </Field>
        )}
        <Field label="What it may do" error={at("role")}>
          {(aria) => (
            <Select {...aria} value={role} onChange={(event) => setRole(event.target.value as Role)}>
              {allowed.map((one) => (
                <option key={one} value={one}>
                  {one}: {MAY[one]}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label="Expires after" error={at("days")}>
          {(aria) => (
            <Select {...aria} value={days} onChange={(event) => setDays(event.target.value)}>
              <option value="1">a day</option>
              <option value="7">a week</option>
              <option value="30">30 days</option>
              <option value="90">90 days</option>
              <option value="365">a year</option>
              {who.role === "admin" && <option value="3650">ten years</option>}
            </Select>
          )}
        </Field>
      </div>
    </Dialog>
  );
}
