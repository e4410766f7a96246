// What a share's address opens; asked for while the page itself is still being loaded.
import { queryOptions } from "@tanstack/react-query";

import { api, Problem, speakAsShare, type Schemas } from "@/api/client";

export type Shared = Schemas["Shared"];

const GOING_ON = ["running", "queued", "lost"];

export function sharedQuery(token: string) {
  return queryOptions({
    queryKey: ["shared", token],
    queryFn: ({ signal }) => open(token, signal),
    refetchInterval: (query) => (query.state.data?.runs.some((run) => GOING_ON.includes(run.status)) ? 10_000 : false),
  });
}

/** First by the address alone; one that needs a sign-in is asked for again with it. */
async function open(token: string, signal: AbortSignal): Promise<Shared> {
  try {
    speakAsShare(token);
    return await api.get("/v1/shared/{token}", { params: { token }, signal });
  } catch (problem) {
    if (!(problem instanceof Problem) || problem.status !== 401) throw problem;
    speakAsShare("");
    try {
      return await api.get("/v1/shared/{token}", { params: { token }, signal });
    } catch (second) {
      throw second instanceof Problem && second.status === 401 ? problem : second;
    }
  }
}
