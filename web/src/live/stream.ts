// One connection to /v1/live that never gives up. Runs in a shared worker, or in the page where there is none.

export interface LiveEvent {
  /** 0: a notice that is not kept. */
  sequence: number;
  name: string;
  subject: string;
  time: number;
  user: string;
  data: Record<string, unknown>;
}

/** open: connected; away: the server does not answer; refused: it does not know who asks. */
export type LiveState = "open" | "away" | "refused";

export type Told =
  | { kind: "state"; state: LiveState }
  | { kind: "events"; events: LiveEvent[] }
  /** Something may have been missed: look at everything anew. */
  | { kind: "anew" };

/** The server says something every ten seconds; after so long a silence the connection is dead. */
const SILENCE = 25_000;
const LONGEST_PAUSE = 3_000;

/** `since`: seconds for which this page has been loading already. Answers a function that tries again at once. */
export function follow(tell: (told: Told) => void, since: number): () => void {
  let source: EventSource | null = null;
  let last: string | null = null;
  let pause = 250;
  let heard = Date.now();
  let retry: ReturnType<typeof setTimeout> | undefined;

  function open(): void {
    clearTimeout(retry);
    source?.close();
    heard = Date.now();
    const made = new EventSource(`/v1/live?${last === null ? `since=${Math.min(60, since).toFixed(1)}` : `after=${last}`}`);
    source = made;
    made.addEventListener("hello", (message) => {
      heard = Date.now();
      pause = 250;
      const { resumed } = JSON.parse(message.data) as { resumed: boolean };
      const again = last !== null;
      last = message.lastEventId;
      tell({ kind: "state", state: "open" });
      if (again && !resumed) tell({ kind: "anew" });
    });
    made.addEventListener("message", (message) => {
      heard = Date.now();
      last = message.lastEventId;
      tell({ kind: "events", events: JSON.parse(message.data) as LiveEvent[] });
    });
    made.addEventListener("lost", () => {
      heard = Date.now();
      tell({ kind: "anew" });
    });
    made.addEventListener("beat", () => {
      heard = Date.now();
    });
    made.addEventListener("error", () => {
      if (source === made) void lost();
    });
  }

  async function lost(): Promise<void> {
    source?.close();
    source = null;
    let state: LiveState = "away";
    try {
      const answer = await fetch("/v1/whoami", { credentials: "same-origin", headers: { accept: "application/json" } });
      // it answers, so only the stream broke: no word about that
      if (answer.status === 401) state = "refused";
      else if (answer.ok) state = "open";
    } catch {
      // away
    }
    if (source) return;
    if (state !== "open") tell({ kind: "state", state });
    pause = Math.min(pause * 2, LONGEST_PAUSE);
    clearTimeout(retry);
    retry = setTimeout(open, state === "open" ? 300 : pause);
  }

  setInterval(() => {
    // a machine that slept, a network that changed: nobody tells, the connection is just silent
    if (source && Date.now() - heard > SILENCE) void lost();
  }, 5_000);
  addEventListener("online", open);
  open();
  return () => {
    if (!source) {
      pause = 250;
      open();
    }
  };
}
