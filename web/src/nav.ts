// State lives in the address: every value is a plain text, and Back works.
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback } from "react";

/** What an address may say after `?`; each page reads the names it knows and checks the values itself. */
export type Search = Record<string, string | undefined>;

export type ChangeSearch = (changes: Search | ((now: Search) => Search), options?: { replace?: boolean }) => void;

/** The address's search values and a way to change some; `undefined` or "" removes one. `replace` leaves no trace in Back. */
export function useAddress(): [Search, ChangeSearch] {
  const search = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const change = useCallback<ChangeSearch>(
    (changes, options) => {
      void navigate({
        to: ".",
        search: ((now: Search) => cleaned({ ...now, ...(typeof changes === "function" ? changes(now) : changes) })) as never,
        replace: options?.replace ?? false,
        resetScroll: false,
      });
    },
    [navigate],
  );
  return [search, change];
}

export function parseSearch(text: string): Search {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: Record<string, unknown>): string {
  const text = new URLSearchParams(cleaned(search) as Record<string, string>).toString();
  return text ? `?${text}` : "";
}

function cleaned(search: Record<string, unknown>): Search {
  const kept: Search = {};
  for (const [name, value] of Object.entries(search))
    if (value !== undefined && value !== null && value !== "") kept[name] = String(value);
  return kept;
}
