// One version of a dataset: its files, statistics, changes, lineage; each part is loaded when it is first opened.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";

import { api, Problem } from "@/api/client";
import { bytes, count } from "@/format";
import { useKeys } from "@/keys";
import { shell } from "@/pages/runs/copy";
import { useTitle } from "@/shell/title";
import { Banner, Button, CopyAs, CopyButton, IconButton, Input, Popover, PopoverClose, ProblemBanner, Select, SkeletonLines, TabLinks, TagChip, Time, toast, toastProblem, type TabItem } from "@/ui";

import { MoveDialog } from "./Aliases";
import { lookAgain, useAliases, useVersion, useVersions, type Dataset, type Version } from "./data";
import styles from "./datasets.module.css";
import { python, record } from "./looks";
import { AliasMark, Blind, Changes } from "./marks";

export interface PartProps {
  dataset: Dataset;
  version: Version;
}

const parts: Record<string, React.LazyExoticComponent<(props: PartProps) => React.ReactNode>> = {
  files: lazy(() => import("./Files")),
  statistics: lazy(() => import("./Statistics")),
  changes: lazy(() => import("./ChangesTab")),
  lineage: lazy(() => import("./Lineage")),
  report: lazy(() => import("./Report")),
};

export function VersionPage({ dataset, said, section }: { dataset: Dataset; said: string; section?: string }) {
  const found = useVersion(dataset, said);
  const version = found.data;
  useTitle(`${dataset.name} ${version ? `v${version.number}` : said} · data`);
  if (found.error && !version) {
    if (found.error instanceof Problem && found.error.code === "not_found") throw found.error;
    return <ProblemBanner error={found.error} retry={() => void found.refetch()} />;
  }
  if (!version) return <SkeletonLines lines={8} />;
  if (version.state === "open")
    return <Banner>This version is still being written by {version.user}. It can be looked at when it is committed.</Banner>;
  return <Whole dataset={dataset} version={version} said={said} section={section} />;
}

function Whole({ dataset, version, said, section }: { dataset: Dataset; version: Version; said: string; section?: string }) {
  const navigate = useNavigate();
  const versions = useVersions(dataset.id);
  const aliases = useAliases(dataset.id);
  const [pinning, setPinning] = useState(false);
  const tabs: TabItem[] = [
    { id: "files", label: "Files", count: version.files },
    { id: "statistics", label: "Statistics" },
    { id: "changes", label: "Changes" },
    { id: "lineage", label: "Lineage" },
    ...(Object.keys(record(version.report)).length ? [{ id: "report", label: "Checks" }] : []),
  ];
  const here = tabs.some((one) => one.id === section) ? section! : "files";
  const Part = parts[here]!;
  const listed = versions.data?.versions ?? [];
  const all = listed.some((one) => one.id === version.id) ? listed : [version, ...listed];
  const go = (number: number) =>
    void navigate({
      to: "/datasets/$dataset/{-$version}/{-$section}", params: { dataset: dataset.id, version: `v${number}`, section: here === "files" ? undefined : here },
      // the folder that is open stays open in another version
      search: ((now: Record<string, unknown>) => ({ ...now, against: undefined })) as never, resetScroll: false,
    });
  const at = all.findIndex((one) => one.id === version.id);
  const older = all[at + 1];
  const newer = all[at - 1];
  useKeys(
    {
      "[": { label: "Older version", run: () => older && go(older.number) },
      "]": { label: "Newer version", run: () => newer && go(newer.number) },
      ...Object.fromEntries(
        tabs.map((one, index) => [
          String(index + 1),
          {
            label: `Tab ${String(one.label)}`, hidden: index > 0,
            run: () => void navigate({ to: "/datasets/$dataset/{-$version}/{-$section}", params: { dataset: dataset.id, version: said, section: one.id === "files" ? undefined : one.id } }),
          },
        ]),
      ),
    },
    { scope: "Version" },
  );
  const address = `${dataset.project}/${dataset.name}@v${version.number}`;
  return (
    <article className={styles.view} aria-label={`Version ${version.number} of ${dataset.name}`}>
      <header className={styles.head}>
        <div className={styles.title}>
          <div className={styles.crumbs}>
            <Link to="/datasets">Data</Link>
            <span aria-hidden="true">/</span>
            <Link to="/projects/$project" params={{ project: dataset.project }}>
              {dataset.project}
            </Link>
            <span aria-hidden="true">/</span>
            <Link to="/datasets/$dataset/{-$version}/{-$section}" params={{ dataset: dataset.id, version: undefined, section: undefined }}>
              {dataset.name}
            </Link>
          </div>
          <div className="row">
            <h1>
              {dataset.name} <span className="tabular">v{version.number}</span>
            </h1>
            <CopyButton text={address} what="its address" />
            {version.blind && <Blind />}
            <span className={styles.stepper}>
              <IconButton icon="chevronLeft" size="small" label="Older version" shortcut="[" disabled={!older} onClick={() => older && go(older.number)} />
              <Select aria-label="Version" value={String(version.number)} onChange={(event) => go(Number(event.target.value))}>
                {all.map((one) => (
                  <option key={one.id} value={one.number}>
                    v{one.number}
                    {one.aliases.length > 0 && ` (${one.aliases.join(", ")})`}
                  </option>
                ))}
              </Select>
              <IconButton icon="chevronRight" size="small" label="Newer version" shortcut="]" disabled={!newer} onClick={() => newer && go(newer.number)} />
            </span>
          </div>
          {version.message && <p className={styles.lead}>{version.message}</p>}
          <div className={styles.versionFoot}>
            <span>
              <Time at={version.committed ?? version.created} /> by {version.user}
            </span>
            {version.run && (
              <Link to="/runs/$run/{-$tab}" params={{ run: version.run }}>
                made by a run
              </Link>
            )}
            <span className="tabular">
              {count(version.files)} {version.files === 1 ? "file" : "files"}, {bytes(version.bytes)}
            </span>
            {version.parents.length > 0 && <Changes version={version} />}
            <span className="quiet" title="What was not stored before">
              {version.new_bytes ? `${bytes(version.new_bytes)} stored for it` : "nothing new stored for it"}
            </span>
          </div>
          <Marks dataset={dataset} version={version} onPin={() => setPinning(true)} />
        </div>
        <div className={styles.actions}>
          <CopyAs
            python={`import larder.data\n\nfolder = larder.data.get(${python(address)})`}
            cli={`larder data get ${shell(address)}`}
            curl={`curl -H "Authorization: Bearer $LARDER_TOKEN" ${shell(`${location.origin}/v1/dataset-versions/${version.id}/folder`)}`}
          />
        </div>
      </header>
      <TabLinks
        tabs={tabs} current={here} label="Parts of the version"
        to={(id) => ({ to: "/datasets/$dataset/{-$version}/{-$section}", params: { dataset: dataset.id, version: said, section: id === "files" ? undefined : id } })}
      />
      <Suspense key={here} fallback={<SkeletonLines lines={8} />}>
        <Part key={version.id} dataset={dataset} version={version} />
      </Suspense>
      {pinning && <MoveDialog dataset={dataset} versions={all} version={version} known={aliases.data?.aliases ?? []} onClose={() => setPinning(false)} />}
    </article>
  );
}

function Marks({ dataset, version, onPin }: { dataset: Dataset; version: Version; onPin: () => void }) {
  const client = useQueryClient();
  const [typed, setTyped] = useState("");
  const [open, setOpen] = useState(false);
  const tell = (change: { add_tags?: string[]; remove_tags?: string[] }) =>
    api.patch("/v1/dataset-versions/{version_id}", { params: { version_id: version.id }, body: change });
  const change = useMutation({
    mutationFn: tell,
    onSuccess: (_, given) => {
      setTyped("");
      const [gone] = given.remove_tags ?? [];
      if (gone)
        toast({
          text: `The tag ${gone} was taken away`,
          undo: async () => {
            await tell({ add_tags: [gone] });
            await lookAgain(client);
          },
        });
      return lookAgain(client);
    },
    onError: toastProblem,
  });
  return (
    <div className={styles.marks}>
      {version.aliases.map((alias) => (
        <AliasMark key={alias} alias={alias} />
      ))}
      {version.tags.map((tag) => (
        <TagChip key={tag} tag={tag} onRemove={() => change.mutate({ remove_tags: [tag] })} />
      ))}
      <Popover
        label="Add a tag" open={open} onOpenChange={setOpen}
        trigger={
          <Button size="small" kind="quiet" icon="tag">
            Tag
          </Button>
        }
      >
        <form
          className="row"
          onSubmit={(event) => {
            event.preventDefault();
            if (!typed.trim()) return;
            change.mutate({ add_tags: [typed.trim()] });
            setOpen(false);
          }}
        >
          <Input aria-label="Tag" placeholder="A tag" value={typed} onChange={(event) => setTyped(event.target.value)} spellCheck={false} className={styles.tagInput} />
          <Button kind="primary" type="submit">
            Add
          </Button>
          <PopoverClose asChild>
            <Button>Cancel</Button>
          </PopoverClose>
        </form>
      </Popover>
      <Button size="small" kind="quiet" icon="pin" onClick={onPin}>
        Alias
      </Button>
      {dataset.newest?.id === version.id && <span className="quiet small">the newest version</span>}
    </div>
  );
}
