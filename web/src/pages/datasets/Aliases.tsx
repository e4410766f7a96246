// Names that people give to versions, such as `ready`: where they point, where they pointed, and a way to move them.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useId, useState } from "react";

import { api } from "@/api/client";
import { Button, Dialog, Field, IconButton, Input, Menu, ProblemBanner, Select, SkeletonLines, Time, toast, toastProblem } from "@/ui";

import { lookAgain, useAliases, type Alias, type Dataset, type Version } from "./data";
import styles from "./datasets.module.css";
import { AliasMark } from "./marks";

const ROLES = ["contributor", "maintainer", "admin"] as const;
type Role = (typeof ROLES)[number];

export function useMoveAlias(dataset: string) {
  const client = useQueryClient();
  const set = (alias: string, version: string, role?: Role) =>
    api.put("/v1/datasets/{dataset_id}/aliases/{alias}", { params: { dataset_id: dataset, alias }, body: { version, role: role ?? null } });
  const drop = (alias: string) => api.delete("/v1/datasets/{dataset_id}/aliases/{alias}", { params: { dataset_id: dataset, alias } });
  return useMutation({
    mutationFn: async ({ alias, version, role }: { alias: string; version: Pick<Version, "id" | "number"> | null; role?: Role; before?: string }) =>
      version ? void (await set(alias, version.id, role)) : void (await drop(alias)),
    onSuccess: (_, { alias, version, before }) => {
      toast({
        text: version ? `${alias} is v${version.number} now` : `${alias} is no alias any more`,
        undo:
          before === version?.id
            ? undefined
            : async () => {
                await (before ? set(alias, before) : drop(alias));
                await lookAgain(client);
              },
      });
      return lookAgain(client);
    },
    onError: toastProblem,
  });
}

export function Aliases({ dataset, versions }: { dataset: Dataset; versions: Version[] }) {
  const found = useAliases(dataset.id);
  const [wanted, setWanted] = useState<{ alias: string } | null>(null);
  const [open, setOpen] = useState("");
  const aliases = found.data?.aliases ?? [];
  return (
    <section className={styles.section} aria-label="Aliases">
      <div className={styles.sectionHead}>
        <h2>Aliases</h2>
        {versions.length > 0 && (
          <span className="push">
            <Button size="small" icon="plus" onClick={() => setWanted({ alias: "" })}>
              New alias
            </Button>
          </span>
        )}
      </div>
      {found.error && !found.data ? (
        <ProblemBanner error={found.error} retry={() => void found.refetch()} />
      ) : !found.data ? (
        <SkeletonLines lines={2} />
      ) : aliases.length === 0 ? (
        <p className="quiet small">
          An alias such as <code>ready</code> points to one version and is moved to the next: <code>{dataset.name}@ready</code> is always the one meant.
        </p>
      ) : (
        <ul className={styles.aliases}>
          {aliases.map((one) => (
            <AliasRow key={one.alias} dataset={dataset} alias={one} versions={versions} open={open === one.alias} onOpen={(next) => setOpen(next ? one.alias : "")} onMove={() => setWanted({ alias: one.alias })} />
          ))}
        </ul>
      )}
      {wanted && <MoveDialog dataset={dataset} alias={aliases.find((one) => one.alias === wanted.alias)} versions={versions} onClose={() => setWanted(null)} />}
    </section>
  );
}

function AliasRow({ dataset, alias, versions, open, onOpen, onMove }: { dataset: Dataset; alias: Alias; versions: Version[]; open: boolean; onOpen: (open: boolean) => void; onMove: () => void }) {
  const move = useMoveAlias(dataset.id);
  const last = alias.history[0];
  const now = versions.find((one) => one.number === alias.version);
  return (
    <li>
      <div className={styles.aliasRow}>
        <AliasMark alias={alias.alias} />
        {alias.version > 0 ? (
          <Link to="/datasets/$dataset/{-$version}/{-$section}" params={{ dataset: dataset.id, version: `v${alias.version}`, section: undefined }} className="tabular">
            v{alias.version}
          </Link>
        ) : (
          <span className="quiet small">ended</span>
        )}
        {last && (
          <span className="quiet small">
            <Time at={last.time} tooltip={false} /> by {last.user}
          </span>
        )}
        {alias.role !== "contributor" && <span className="quiet small">moved by a {alias.role} only</span>}
        <span className="push">
          <Menu
            align="end"
            items={[
              { label: "Move …", icon: "pin", onSelect: onMove },
              ...versions
                .filter((one) => one.number !== alias.version)
                .slice(0, 3)
                .map((one) => ({ label: `Move to v${one.number}`, hint: one.message.slice(0, 24), onSelect: () => move.mutate({ alias: alias.alias, version: one, before: now?.id }) })),
              { label: open ? "Hide its history" : "Show its history", icon: "clock" as const, onSelect: () => onOpen(!open) },
              "separator",
              alias.version > 0 && { label: "End it", icon: "trash", danger: true, onSelect: () => move.mutate({ alias: alias.alias, version: null, before: now?.id }) },
            ]}
          >
            <IconButton icon="more" size="small" label={`Actions for ${alias.alias}`} />
          </Menu>
        </span>
      </div>
      {open && (
        <ol className={styles.history} aria-label={`History of ${alias.alias}`}>
          {alias.history.map((one, index) => (
            <li key={index} className="small">
              <span className="tabular">{one.version ? `v${one.version}` : "ended"}</span>{" "}
              <span className="quiet">
                <Time at={one.time} tooltip={false} /> by {one.user}
              </span>
            </li>
          ))}
        </ol>
      )}
    </li>
  );
}

/** Where an alias shall point, and who may move it. */
export function MoveDialog({
  dataset, alias: moved, versions, version, known = [], onClose,
}: {
  dataset: Dataset; alias?: Alias; versions: Version[]; version?: Version; known?: Alias[]; onClose: () => void;
}) {
  const move = useMoveAlias(dataset.id);
  const list = useId();
  const [name, setName] = useState(moved?.alias ?? "");
  const alias = moved ?? known.find((one) => one.alias === name.trim());
  const [to, setTo] = useState(version?.id ?? versions[0]?.id ?? "");
  const [wanted, setRole] = useState<Role | null>(null);
  const role = wanted ?? ROLES.find((one) => one === alias?.role) ?? "contributor";
  const all = version && !versions.some((one) => one.id === version.id) ? [version, ...versions] : versions;
  const chosen = all.find((one) => one.id === to);
  return (
    <Dialog
      open onClose={onClose} title={moved ? `Move ${moved.alias}` : version ? `An alias for v${version.number}` : "An alias for a version"}
      onSubmit={() =>
        chosen &&
        move.mutate(
          { alias: name.trim(), version: chosen, role: role === alias?.role ? undefined : role, before: alias ? versions.find((one) => one.number === alias.version)?.id : undefined },
          { onSuccess: onClose },
        )
      }
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={move.isPending || !name.trim() || !chosen}>
            {alias ? "Move it" : "Set it"}
          </Button>
        </>
      }
    >
      <div className="stack">
        {!moved && (
          <Field label="Alias" hint={alias?.version ? `It is v${alias.version} now.` : "One word, such as ready or golden."}>
            {(aria) => (
              <>
                <Input {...aria} value={name} onChange={(event) => setName(event.target.value)} spellCheck={false} list={list} />
                <datalist id={list}>
                  {known.map((one) => (
                    <option key={one.alias} value={one.alias} />
                  ))}
                </datalist>
              </>
            )}
          </Field>
        )}
        <Field label="Version">
          {(aria) => (
            <Select {...aria} value={to} onChange={(event) => setTo(event.target.value)}>
              {all.map((one) => (
                <option key={one.id} value={one.id}>
                  v{one.number} {one.message.slice(0, 60)}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label="Who may move it" hint="A protected alias is moved by nobody of a lower role.">
          {(aria) => (
            <Select {...aria} value={role} onChange={(event) => setRole(event.target.value as Role)}>
              {ROLES.map((one) => (
                <option key={one} value={one}>
                  {one === "admin" ? "an admin" : `a ${one}`}
                </option>
              ))}
            </Select>
          )}
        </Field>
      </div>
    </Dialog>
  );
}
