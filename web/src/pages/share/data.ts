// What the pages ask of shares.
import { queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { api, type Schemas } from "@/api/client";
import { toast, toastProblem } from "@/ui";

export type Share = Schemas["Share"];
export type SharedView = Schemas["SharedView"];

/** What a share is made of: one run, 2 to 50 runs side by side, or the runs that a view finds. */
export type ShareTarget =
  | { kind: "run"; runs: [string]; against?: string; metric?: string }
  | { kind: "comparison"; runs: string[]; metric?: string }
  | { kind: "view"; view: Partial<SharedView>; metric?: string };

export const policyQuery = queryOptions({ queryKey: ["shares", "policy"], queryFn: ({ signal }) => api.get("/v1/share-policy", { signal }) });

export function useShares(run = "") {
  return useQuery({
    queryKey: ["shares", "list", run],
    queryFn: ({ signal }) => api.get("/v1/shares", { query: { run }, signal }),
  });
}

export function useWhoami() {
  return useQuery({ queryKey: ["whoami"], queryFn: ({ signal }) => api.get("/v1/whoami", { signal }), staleTime: 5 * 60_000 });
}

/** Whoever opens a share elsewhere needs the whole address. */
export function whole(share: Share): string {
  return new URL(share.path, window.location.origin).href;
}

export function useRevoke() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (share: Share) => api.delete("/v1/shares/{share_id}", { params: { share_id: share.id } }),
    onSuccess: () => toast({ text: "Revoked: the address opens nothing any more." }),
    onError: toastProblem,
    onSettled: () => client.invalidateQueries({ queryKey: ["shares"] }),
  });
}

export function useSetPolicy() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (open: boolean) => api.patch("/v1/share-policy", { body: { public: open } }),
    onError: toastProblem,
    onSettled: () => client.invalidateQueries({ queryKey: ["shares"] }),
  });
}

export function day(at: number): string {
  return new Date(at / 1000).toLocaleDateString(undefined, { year: "numeric", month: "long", day: "numeric" });
}
