// One dataset: its versions in time, its aliases with their history, and which runs use it.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";

import { api } from "@/api/client";
import { bytes, count, plural } from "@/format";
import { useKeys } from "@/keys";
import { useAddress } from "@/nav";
import { shell } from "@/pages/runs/copy";
import { useTitle } from "@/shell/title";
import { Banner, Button, Code, CopyAs, CopyButton, Dialog, Empty, Field, IconButton, Input, ProblemBanner, SkeletonLines, TagChip, TextArea, Time, toast, toastProblem } from "@/ui";

import { Aliases } from "./Aliases";
import { lookAgain, useUses, useVersions, type Dataset, type Version } from "./data";
import styles from "./datasets.module.css";
import { python } from "./looks";
import { AliasMark, Blind, Changes, WHY_BLIND } from "./marks";
import { UseList } from "./Uses";

const SHOWN = 50;

export function DatasetPage({ dataset }: { dataset: Dataset }) {
  useTitle(`${dataset.name} · data`);
  const [search, change] = useAddress();
  const tag = search.tag ?? "";
  const limit = Math.min(1000, Math.max(SHOWN, Number(search.n) || SHOWN));
  const versions = useVersions(dataset.id, { tag, limit });
  const uses = useUses({ dataset: dataset.id }, 20);
  const [editing, setEditing] = useState(false);
  const list = useRef<HTMLOListElement>(null);
  const byId = useMemo(() => new Map((versions.data?.versions ?? []).map((one) => [one.id, one])), [versions.data]);
  const step = (by: number) => {
    const rows = [...(list.current?.querySelectorAll<HTMLElement>("[data-version]") ?? [])];
    const now = rows.indexOf(document.activeElement as HTMLElement);
    rows[now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, now + by))]?.focus();
  };
  useKeys({ j: { label: "Older version", run: () => step(1) }, k: { label: "Newer version", run: () => step(-1) } }, { scope: "Dataset" });
  const name = `${dataset.project}/${dataset.name}`;
  return (
    <article className={styles.view} aria-label={`Dataset ${dataset.name}`}>
      <header className={styles.head}>
        <div className={styles.title}>
          <div className={styles.crumbs}>
            <Link to="/datasets">Data</Link>
            <span aria-hidden="true">/</span>
            <Link to="/projects/$project" params={{ project: dataset.project }}>
              {dataset.project}
            </Link>
          </div>
          <div className="row">
            <h1>{dataset.name}</h1>
            <CopyButton text={name} what="its address" />
            {dataset.blind && <Blind />}
          </div>
          <p className="quiet">
            {dataset.description || "No description."}{" "}
            <IconButton icon="edit" size="small" label="Describe it" onClick={() => setEditing(true)} />
          </p>
        </div>
        <div className={styles.actions}>
          {dataset.newest && (
            <CopyAs
              python={`import larder.data\n\nfolder = larder.data.get(${python(name)})`}
              cli={`larder data get ${shell(name)}`}
              curl={`curl -H "Authorization: Bearer $LARDER_TOKEN" ${shell(`${location.origin}/v1/dataset-address?${new URLSearchParams({ address: name })}`)}`}
            />
          )}
        </div>
      </header>
      {dataset.blind && <Banner>{WHY_BLIND}</Banner>}
      <div className={styles.columns}>
        <section className={styles.section} aria-label="Versions">
          <div className={styles.sectionHead}>
            <h2>Versions</h2>
            <span className="quiet small tabular">{count(tag ? (versions.data?.total ?? 0) : dataset.versions)}</span>
            {tag && (
              <span className="row small">
                with the tag <TagChip tag={tag} onRemove={() => change({ tag: undefined, n: undefined })} />
              </span>
            )}
          </div>
          {versions.error && !versions.data ? (
            <ProblemBanner error={versions.error} retry={() => void versions.refetch()} />
          ) : !versions.data ? (
            <SkeletonLines lines={8} />
          ) : versions.data.versions.length ? (
            <ol ref={list} className={styles.timeline}>
              {versions.data.versions.map((one) => (
                <VersionRow key={one.id} version={one} parents={one.parents.map((id) => byId.get(id))} onTag={(next) => change({ tag: next, n: undefined })} />
              ))}
            </ol>
          ) : tag ? (
            <p className="quiet">No version has the tag “{tag}”.</p>
          ) : (
            <Empty title="No version yet" level={3}>
              <p>Commit a folder: its files become version 1.</p>
              <Code label="Commit a folder">{`larder data commit photos/ --to ${shell(name)}`}</Code>
            </Empty>
          )}
          {versions.data && versions.data.total > versions.data.versions.length && limit < 1000 && (
            <div>
              <Button onClick={() => change({ n: String(limit + 200) }, { replace: true })}>Show older versions</Button>
            </div>
          )}
        </section>
        <div className={styles.aside}>
          <Aliases dataset={dataset} versions={versions.data?.versions ?? []} />
          <section className={styles.section} aria-label="Used by">
            <div className={styles.sectionHead}>
              <h2>Used by</h2>
            </div>
            {uses.error && !uses.data ? (
              <ProblemBanner error={uses.error} retry={() => void uses.refetch()} />
            ) : !uses.data ? (
              <SkeletonLines lines={3} />
            ) : uses.data.uses.length ? (
              <UseList uses={uses.data.uses} withVersion />
            ) : (
              <p className="quiet small">
                No run has read or written it. Reading it in a run with <code>larder.data.get</code> is recorded here.
              </p>
            )}
          </section>
        </div>
      </div>
      {editing && <Describe dataset={dataset} onClose={() => setEditing(false)} />}
    </article>
  );
}

function VersionRow({ version, parents, onTag }: { version: Version; parents: (Version | undefined)[]; onTag: (tag: string) => void }) {
  const [parent] = parents;
  const params = { dataset: version.dataset, version: `v${version.number}`, section: undefined };
  const grown = version.parents.length ? (parent ? version.bytes - parent.bytes : null) : version.bytes;
  return (
    <li className={styles.version}>
      <div className={styles.versionHead}>
        <Link data-version={version.id} to="/datasets/$dataset/{-$version}/{-$section}" params={params} className={`tabular ${styles.name}`}>
          v{version.number}
        </Link>
        {version.aliases.map((alias) => (
          <AliasMark key={alias} alias={alias} />
        ))}
        {version.tags.map((tag) => (
          <TagChip key={tag} tag={tag} onClick={() => onTag(tag)} />
        ))}
        {version.parents.length > 1 && (
          <span className="quiet small">merges {parents.map((one) => (one ? `v${one.number}` : "an older version")).join(" and ")}</span>
        )}
      </div>
      {version.message && <p className={styles.message}>{version.message}</p>}
      <div className={styles.versionFoot}>
        <span>
          <Time at={version.committed ?? version.created} tooltip={false} /> by {version.user}
        </span>
        {version.run && (
          <Link to="/runs/$run/{-$tab}" params={{ run: version.run }}>
            made by a run
          </Link>
        )}
        {version.parents.length > 0 ? (
          <Link to="/datasets/$dataset/{-$version}/{-$section}" params={{ ...params, section: "changes" }}>
            <Changes version={version} />
          </Link>
        ) : (
          <span>{plural(version.files, "file")}</span>
        )}
        <span className="tabular" title={`${bytes(version.new_bytes)} were stored for it`}>
          {bytes(version.bytes)}
          {grown !== null && version.parents.length > 0 && grown !== 0 && ` (${grown > 0 ? "+" : "−"}${bytes(Math.abs(grown))})`}
        </span>
      </div>
    </li>
  );
}

function Describe({ dataset, onClose }: { dataset: Dataset; onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState(dataset.name);
  const [description, setDescription] = useState(dataset.description);
  const save = useMutation({
    mutationFn: () =>
      api.patch("/v1/datasets/{dataset_id}", {
        params: { dataset_id: dataset.id },
        body: { name: name === dataset.name ? null : name, description: description === dataset.description ? null : description },
      }),
    onSuccess: () => {
      onClose();
      toast({ text: "Saved" });
      return lookAgain(client);
    },
    onError: toastProblem,
  });
  return (
    <Dialog
      open onClose={onClose} title="The dataset" onSubmit={() => save.mutate()}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={save.isPending || !name.trim()}>
            Save
          </Button>
        </>
      }
    >
      <div className="stack">
        <Field label="Name" hint="Addresses with the old name are found no longer.">
          {(aria) => <Input {...aria} value={name} onChange={(event) => setName(event.target.value)} />}
        </Field>
        <Field label="Description" hint="What it holds, where it comes from.">
          {(aria) => <TextArea {...aria} value={description} onChange={(event) => setDescription(event.target.value)} rows={4} />}
        </Field>
      </div>
    </Dialog>
  );
}
