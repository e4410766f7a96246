// Calls the public REST, typed from the OpenAPI document. Every refusal is a `Problem`; no answer at all is one too.
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

type Method = "get" | "post" | "patch" | "put" | "delete";
export type PathsWith<M extends Method> = {
  [P in keyof paths]: paths[P][M] extends { responses: unknown } ? P : never;
}[keyof paths];

/** What has a default may be left out. */
type Loose<T> = T extends readonly (infer I)[]
  ? Loose<I>[]
  : T extends object
    ? string extends keyof T
      ? T
      : { [K in keyof T]?: Loose<T[K]> | null }
    : T;

type Operation<P extends keyof paths, M extends Method> = paths[P][M];
type PathOf<O> = O extends { parameters: { path: infer X } } ? X : never;
type QueryOf<O> = O extends { parameters: { query?: infer X } } ? NonNullable<X> : never;
type BodyOf<O> = O extends { requestBody?: { content: { "application/json": infer X } } } ? X : never;
export type Answer<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { responses: { 200: { content: { "application/json": infer X } } } } ? Full<X> : unknown;

/** An answer says every field, also those that a question may leave out. */
export type Full<T> = T extends readonly (infer I)[]
  ? Full<I>[]
  : T extends object
    ? string extends keyof T
      ? { [K in keyof T]: Full<T[K]> }
      : { [K in keyof T]-?: Full<Exclude<T[K], undefined>> }
    : T;

export type Options<P extends keyof paths, M extends Method> = {
  signal?: AbortSignal;
} & ([PathOf<Operation<P, M>>] extends [never] ? { params?: undefined } : { params: PathOf<Operation<P, M>> }) &
  ([QueryOf<Operation<P, M>>] extends [never] ? { query?: undefined } : { query?: Loose<QueryOf<Operation<P, M>>> }) &
  ([BodyOf<Operation<P, M>>] extends [never] ? { body?: undefined } : { body?: Loose<BodyOf<Operation<P, M>>> });

type Arguments<P extends keyof paths, M extends Method> =
  Record<string, never> extends Options<P, M> ? [options?: Options<P, M>] : [options: Options<P, M>];

/** Why the server refused. `code` "unreachable" (status 0) says that it did not answer at all. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string;
  readonly field: string;
  /** The character at fault, for a text that did not parse. */
  readonly position: number | null;

  constructor(status: number, told: Partial<Schemas["Problem"]>) {
    super(told.message || "the server answered with something unreadable");
    this.name = "Problem";
    this.status = status;
    this.code = told.code ?? "error";
    this.hint = told.hint ?? "";
    this.field = told.field ?? "";
    this.position = told.position ?? null;
  }
}

/** Whether the last request was answered; `useServerAway` of live/ shows it. */
type Heard = (answered: boolean) => void;
const listeners = new Set<Heard>();
export function onAnswer(listener: Heard): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
export function tellAnswered(answered: boolean): void {
  for (const listener of listeners) listener(answered);
}

/** Whether the server does not know who asks; the shell then shows how to sign in. */
let unknown = false;
const watchers = new Set<() => void>();
export const whoAsks = {
  subscribe: (watcher: () => void) => {
    watchers.add(watcher);
    return () => {
      watchers.delete(watcher);
    };
  },
  isUnknown: () => unknown,
};

/** Keep a token in this browser, in a cookie that no script can read. Refused as a `Problem`. */
export async function signIn(token: string): Promise<void> {
  let answer: Response;
  try {
    // a header holds no other characters, nor does a token
    answer = await fetch("/sign-in", { method: "POST", headers: { authorization: `Bearer ${token.replace(/[^\x21-\x7e]/g, "")}` } });
  } catch {
    throw new Problem(0, { code: "unreachable", message: "The server does not answer." });
  }
  if (!answer.ok) throw new Problem(answer.status, (await answer.json().catch(() => ({}))) as Partial<Schemas["Problem"]>);
}

/** Forget the token that this browser keeps. */
export async function signOut(): Promise<void> {
  await fetch("/sign-out", { method: "POST" });
}

/** Whether somebody has signed in with a token; else the server has taken this browser for the local user's. */
export function hasSignedIn(): boolean {
  return document.cookie.split("; ").includes("larder_signed_in=1");
}

/** A path of the API with its arguments and its query filled in; for links and `src` attributes. */
export function address(
  path: string,
  { params, query }: { params?: Record<string, unknown>; query?: Record<string, unknown> } = {},
): string {
  const filled = path.replace(/{(\w+)}/g, (_, name: string) => encodeURIComponent(String(params?.[name] ?? "")));
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {}))
    if (Array.isArray(value)) for (const each of value) said.append(name, String(each));
    else if (value !== undefined && value !== null && value !== "") said.set(name, String(value));
  const text = said.toString();
  return text ? `${filled}?${text}` : filled;
}

/** A share's secret, when this page was opened by one: sent with every request instead of the cookie. */
let shareSecret = "";
export function speakAsShare(secret: string): void {
  shareSecret = secret;
}

async function send(
  method: string,
  path: string,
  options: { params?: unknown; query?: unknown; body?: unknown; signal?: AbortSignal },
): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (shareSecret) headers.authorization = `Bearer ${shareSecret}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  let answer: Response;
  try {
    answer = await fetch(address(path, options as { params?: Record<string, unknown> }), {
      method,
      headers,
      credentials: "same-origin",
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    tellAnswered(false);
    throw new Problem(0, { code: "unreachable", message: "The server does not answer.", hint: "It is asked again by itself." });
  }
  tellAnswered(true);
  if (!answer.ok) {
    const told = (await answer.json().catch(() => ({}))) as Partial<Schemas["Problem"]>;
    if (told.code === "unauthenticated" && !shareSecret && !unknown) {
      unknown = true;
      for (const watcher of watchers) watcher();
    }
    throw new Problem(answer.status, told);
  }
  return answer;
}

async function call(method: string, path: string, options: object = {}): Promise<unknown> {
  const answer = await send(method, path, options);
  const text = await answer.text();
  return text ? JSON.parse(text) : undefined;
}

export const api = {
  get: <P extends PathsWith<"get">>(path: P, ...[options]: Arguments<P, "get">) =>
    call("GET", path, options) as Promise<Answer<P, "get">>,
  post: <P extends PathsWith<"post">>(path: P, ...[options]: Arguments<P, "post">) =>
    call("POST", path, { body: {}, ...options }) as Promise<Answer<P, "post">>,
  patch: <P extends PathsWith<"patch">>(path: P, ...[options]: Arguments<P, "patch">) =>
    call("PATCH", path, { body: {}, ...options }) as Promise<Answer<P, "patch">>,
  put: <P extends PathsWith<"put">>(path: P, ...[options]: Arguments<P, "put">) =>
    call("PUT", path, { body: {}, ...options }) as Promise<Answer<P, "put">>,
  delete: <P extends PathsWith<"delete">>(path: P, ...[options]: Arguments<P, "delete">) =>
    call("DELETE", path, options) as Promise<Answer<P, "delete">>,
  /** The answer itself, for streams, files and texts. */
  raw: <P extends PathsWith<"get">>(path: P, ...[options]: Arguments<P, "get">) => send("GET", path, options ?? {}),
};
