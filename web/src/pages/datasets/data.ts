// What the pages of data ask the server. A version never changes but for its tags, message and aliases, so its tree is
// asked for once; what a live event makes stale has a key that begins with "datasets".
import { keepPreviousData, useQueries, useQuery, type QueryClient } from "@tanstack/react-query";
import { useCallback, useState } from "react";

import { address, api, type Answer } from "@/api/client";

export type Dataset = Answer<"/v1/datasets/{dataset_id}", "get">;
export type Version = Answer<"/v1/dataset-versions/{version_id}", "get">;
export type Folder = Answer<"/v1/dataset-versions/{version_id}/folder", "get">;
export type Item = Folder["items"][number];
export type Diff = Answer<"/v1/dataset-versions/{version_id}/diff", "get">;
export type Changed = Diff["changes"][number];
export type Alias = Answer<"/v1/datasets/{dataset_id}/aliases", "get">["aliases"][number];
export type Use = Answer<"/v1/dataset-uses", "get">["uses"][number];

/** Items of a folder, or changes, in one answer. */
export const PART = 200;

const ID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** A dataset by its id; by its name too, so that an address can be written by hand. */
export function useDataset(said: string, project = "") {
  return useQuery({
    queryKey: ["datasets", "one", said, project],
    queryFn: async ({ signal }) => {
      let id = said;
      if (!ID.test(said)) id = (await api.get("/v1/dataset-address", { query: { address: said, project }, signal })).dataset;
      return api.get("/v1/datasets/{dataset_id}", { params: { dataset_id: id }, signal });
    },
  });
}

export function useVersions(dataset: string | undefined, { tag = "", limit = 100 }: { tag?: string; limit?: number } = {}) {
  return useQuery({
    queryKey: ["datasets", "versions", dataset, tag, limit],
    queryFn: ({ signal }) => api.get("/v1/datasets/{dataset_id}/versions", { params: { dataset_id: dataset! }, query: { tag, limit }, signal }),
    enabled: dataset !== undefined,
    placeholderData: (before, query) => (query?.queryKey[2] === dataset ? before : undefined),
  });
}

/** A version as its address says it: "v3", an alias, a tag or an id. */
export function useVersion(dataset: Dataset | undefined, said: string) {
  return useQuery({
    queryKey: ["datasets", "version", dataset?.id, dataset?.name, said],
    queryFn: ({ signal }) =>
      ID.test(said)
        ? api.get("/v1/dataset-versions/{version_id}", { params: { version_id: said }, signal })
        : api.get("/v1/dataset-address", { query: { address: `${dataset!.project}/${dataset!.name}@${said}` }, signal }),
    enabled: dataset !== undefined,
    placeholderData: keepPreviousData,
  });
}

export function useAliases(dataset: string) {
  return useQuery({
    queryKey: ["datasets", "aliases", dataset],
    queryFn: ({ signal }) => api.get("/v1/datasets/{dataset_id}/aliases", { params: { dataset_id: dataset }, signal }),
  });
}

export function usesQuery(of: { version?: string; dataset?: string; run?: string }, limit = 200) {
  return {
    queryKey: ["datasets", "uses", of, limit],
    queryFn: ({ signal }: { signal: AbortSignal }) => api.get("/v1/dataset-uses", { query: { ...of, limit }, signal }),
  };
}

export function useUses(of: { version?: string; dataset?: string; run?: string }, limit = 200) {
  return useQuery(usesQuery(of, limit));
}

export function useItem(version: string, path: string) {
  return useQuery({
    queryKey: ["tree", version, "item", path],
    queryFn: ({ signal }) => api.get("/v1/dataset-versions/{version_id}/item", { params: { version_id: version }, query: { path }, signal }),
    staleTime: Infinity,
  });
}

/** All that an event of this dataset changes is asked again; for after a change of one's own. */
export function lookAgain(client: QueryClient): Promise<void> {
  return client.invalidateQueries({ queryKey: ["datasets"] });
}

/** Where the bytes of a file are; `show`: as a picture that a page may show, else as a download. */
export function fileAddress(version: string, path: string, show = true): string {
  return address("/v1/dataset-versions/{version_id}/file", { params: { version_id: version }, query: { path, show: show || undefined } });
}

interface Paged<I> {
  total: number;
  items: I[];
}

/** A long list of which only what is looked at is asked for, a part of `PART` at a time. */
export function useParts<P, I>(key: readonly unknown[], ask: (offset: number, signal: AbortSignal) => Promise<P>, read: (part: P) => Paged<I>) {
  const [[from, to], setRange] = useState<[number, number]>([0, 0]);
  const parts = [...new Set([0, ...Array.from({ length: to - from + 1 }, (_, index) => from + index)])];
  const found = useQueries({
    queries: parts.map((part) => ({
      queryKey: [...key, part],
      queryFn: ({ signal }: { signal: AbortSignal }) => ask(part * PART, signal),
      staleTime: Infinity,
    })),
  });
  const first = found[0]!;
  const at = (index: number): I | undefined => {
    const place = parts.indexOf(Math.floor(index / PART));
    const data = place < 0 ? undefined : found[place]?.data;
    return data === undefined ? undefined : read(data).items[index % PART];
  };
  const see = useCallback((low: number, high: number) => {
    const next: [number, number] = [Math.floor(Math.max(0, low) / PART), Math.floor(Math.max(0, high) / PART)];
    setRange((now) => (now[0] === next[0] && now[1] === next[1] ? now : next));
  }, []);
  return { first: first.data, error: first.error, refetch: first.refetch, total: first.data === undefined ? 0 : read(first.data).total, at, see };
}
