// One cache of the server's state for a tab; live events end what they make stale.
import { QueryClient } from "@tanstack/react-query";

import { Problem } from "./client";

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 15_000,
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: false,
      networkMode: "always",
      // a refusal stays a refusal; a server that is away or busy is asked again until it is there
      retry: (count, error) => error instanceof Problem && (error.status === 0 || (error.status === 503 && count < 5)),
      retryDelay: (count) => Math.min(500 * 2 ** count, 3000),
    },
    mutations: { networkMode: "always", retry: false },
  },
});
