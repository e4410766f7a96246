// One connection for all tabs of a browser: HTTP/1.1 has only six of them.
import { follow, type LiveState, type Told } from "./stream";

const scope = self as unknown as { onconnect: ((event: MessageEvent) => void) | null };
const ports = new Set<MessagePort>();
/** What was told in the last seconds: a tab that opens now may have loaded something older. */
let recent: { told: Told; at: number }[] = [];
let state: LiveState | null = null;
let again: (() => void) | null = null;

function tell(told: Told): void {
  if (told.kind === "state") state = told.state;
  else {
    const now = Date.now();
    recent = [...recent.filter(({ at }) => now - at < 10_000), { told, at: now }].slice(-100);
  }
  for (const port of ports) port.postMessage(told);
}

scope.onconnect = ({ ports: [port] }) => {
  if (!port) return;
  ports.add(port);
  port.onmessage = ({ data }: MessageEvent<"bye" | number>) => {
    if (data === "bye") {
      ports.delete(port);
      return;
    }
    ports.add(port); // a page that came back from the browser's cache
    if (!again) again = follow(tell, data);
    else if (state !== "open") again();
    if (state) port.postMessage({ kind: "state", state } satisfies Told);
    const first = Date.now() - data * 1000;
    for (const { told, at } of recent) if (at >= first) port.postMessage(told);
  };
};
