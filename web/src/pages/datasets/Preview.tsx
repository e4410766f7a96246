// A look at one file of a version: picture, table, text; and what is known of it.
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";

import { api } from "@/api/client";
import { bytes, value as shown } from "@/format";
import { useAddress } from "@/nav";
import { Rows } from "@/pages/run/DataTable";
import { LARGEST, read } from "@/pages/run/tables";
import { TextFile } from "@/pages/run/TextFile";
import { buttonClass, CopyButton, Icon, IconButton, ProblemBanner, SkeletonLines } from "@/ui";

import { fileAddress, useItem, type Item } from "./data";
import styles from "./datasets.module.css";
import { endingOf, lookOf, nameOf } from "./looks";

const Markdown = lazy(() => import("@/ui/Markdown").then((module) => ({ default: module.Markdown })));

const LARGEST_TEXT = 2_000_000;
const NO_PICTURES: ReadonlySet<string> = new Set();

export function Preview({ version, path, onClose }: { version: string; path: string; onClose: () => void }) {
  const found = useItem(version, path);
  const item = found.data;
  return (
    <section className={styles.preview} aria-label={nameOf(path)}>
      <div className={styles.previewHead}>
        <h2 className={styles.wrap}>{nameOf(path)}</h2>
        <CopyButton text={path} what="its path" />
        <span className="push row">
          {item && !item.folder && item.mode !== "external" && (
            <a className={buttonClass({ size: "small" })} href={fileAddress(version, path, false)} download={nameOf(path)}>
              <Icon name="download" /> Download
            </a>
          )}
          <IconButton icon="close" size="small" label="Close the file" shortcut="Esc" onClick={onClose} />
        </span>
      </div>
      {found.error ? <ProblemBanner error={found.error} /> : !item ? <SkeletonLines lines={6} /> : <Look version={version} item={item} />}
      {item && <Facts item={item} />}
    </section>
  );
}

function Facts({ item }: { item: Item }) {
  const metadata = Object.entries(item.metadata).filter(([, value]) => value !== null && value !== "");
  return (
    <dl className={styles.pairs}>
      <dt>Size</dt>
      <dd className="tabular">{bytes(item.bytes)}</dd>
      {item.mode !== "file" && (
        <>
          <dt>Kind</dt>
          <dd>{{ executable: "an executable file", link: "a link within the version", external: "a reference: its bytes are kept elsewhere" }[item.mode as string] ?? item.mode}</dd>
        </>
      )}
      {item.external && (
        <>
          <dt>Kept at</dt>
          <dd className={styles.value}>{item.external}</dd>
        </>
      )}
      {item.hash && (
        <>
          <dt>BLAKE3</dt>
          <dd className={styles.value}>{item.hash}</dd>
        </>
      )}
      {metadata.map(([name, value]) => (
        <div key={name} style={{ display: "contents" }}>
          <dt>{name}</dt>
          <dd className={styles.value}>{shown(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

function Look({ version, item }: { version: string; item: Item }) {
  if (item.folder) return <p className="quiet">This is a folder.</p>;
  if (item.mode === "external") return <p className="quiet">Its bytes are kept elsewhere; the version knows their size and checksum, and they are checked whenever it is read.</p>;
  if (item.bytes === 0) return <p className="quiet">This file is empty.</p>;
  const look = item.mode === "link" ? "text" : lookOf(item.path);
  if (look === "image")
    return (
      <div>
        <img src={fileAddress(version, item.path)} alt={nameOf(item.path)} className={styles.image} />
      </div>
    );
  if (look === "table") return <Table version={version} item={item} />;
  if (look === "none") return <p className="quiet">There is no preview of this kind of file. Download it to look at it.</p>;
  if (item.bytes > LARGEST_TEXT) return <p className="quiet">This text has {bytes(item.bytes)}; download it to read it.</p>;
  return <Text version={version} item={item} markdown={look === "markdown"} />;
}

function Table({ version, item }: { version: string; item: Item }) {
  const [search, change] = useAddress();
  const format = endingOf(item.path);
  const found = useQuery({
    queryKey: ["file", "table", item.hash, format],
    queryFn: async ({ signal }) => {
      const answer = await api.raw("/v1/dataset-versions/{version_id}/file", { params: { version_id: version }, query: { path: item.path }, signal });
      return read(await answer.arrayBuffer(), format, NO_PICTURES);
    },
    staleTime: Infinity,
    retry: false,
    enabled: item.bytes <= LARGEST,
  });
  if (item.bytes > LARGEST) return <p className="quiet">This table has {bytes(item.bytes)}; tables up to {bytes(LARGEST)} are shown. Its statistics are under Statistics.</p>;
  if (found.error) return <p className="quiet">This table cannot be read here: {found.error.message}. Download it to look at it.</p>;
  if (!found.data) return <SkeletonLines lines={8} />;
  return <Rows table={found.data} artifact={{ name: nameOf(item.path) }} pictures={NO_PICTURES} values={search} change={change} source={(path) => fileAddress(version, path)} />;
}

function Text({ version, item, markdown }: { version: string; item: Item; markdown: boolean }) {
  const found = useQuery({
    queryKey: ["file", "text", item.hash],
    queryFn: async ({ signal }) => (await api.raw("/v1/dataset-versions/{version_id}/file", { params: { version_id: version }, query: { path: item.path }, signal })).text(),
    staleTime: Infinity,
  });
  if (found.error) return <ProblemBanner error={found.error} />;
  if (found.data === undefined) return <SkeletonLines lines={6} />;
  if (markdown)
    return (
      <Suspense fallback={<SkeletonLines lines={6} />}>
        <Markdown text={found.data} />
      </Suspense>
    );
  return <TextFile text={found.data} label={nameOf(item.path)} />;
}
