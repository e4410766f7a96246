// An empty server teaches its first run: two lines, this address, a token. The page listens and turns into what arrives.
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { api } from "@/api/client";
import { Button, Card, Code, Tabs, toastProblem } from "@/ui";

import styles from "./home.module.css";

const SCRIPT = `import larder

with larder.init("my-project", params={"lr": 0.1}) as run:
    for step in range(100):
        run.log({"loss": 1 / (step + 1)}, step=step)`;

const TABS = [
  { id: "python", label: "In a script" },
  { id: "untouched", label: "A script as it is" },
] as const;
type Way = (typeof TABS)[number]["id"];

export function FirstRun() {
  const who = useQuery({ queryKey: ["whoami"], queryFn: ({ signal }) => api.get("/v1/whoami", { signal }), staleTime: 5 * 60_000 });
  const [secret, setSecret] = useState("");
  const [way, setWay] = useState<Way>("python");
  const viewer = who.data?.role === "viewer";
  const issue = useMutation({
    mutationFn: () => api.post("/v1/tokens", { body: { user: "", role: "contributor", name: "first run", days: 90 } }),
    onSuccess: (issued) => setSecret(issued.secret),
    onError: toastProblem,
  });
  return (
    <section className={styles.first}>
      <h1>No runs yet</h1>
      <p className="quiet">Two steps, and your first run appears here by itself.</p>
      <ol className={styles.steps}>
        <li>
          <h2>Connect a machine</h2>
          <Code label="Connect a machine">{`pip install larder\nlarder login ${location.origin}${secret ? ` --token ${secret}` : ""}`}</Code>
          {secret ? (
            <p className="small quiet">The token is yours, lives 90 days, and is shown this once. Settings lists and ends it.</p>
          ) : viewer ? (
            <p className="small quiet">Your sign-in may only look; ask an admin for a token with the role contributor.</p>
          ) : (
            <div className="row">
              <Button icon="plus" onClick={() => issue.mutate()} disabled={issue.isPending}>
                Put a token into the line
              </Button>
              <span className="small quiet">Not needed on the machine where the server was started.</span>
            </div>
          )}
        </li>
        <li>
          <h2>Record a run</h2>
          <Tabs tabs={[...TABS]} current={way} onChange={setWay} label="How" panelId="first-run-way" />
          <div role="tabpanel" id="first-run-way" className={styles.way}>
            {way === "python" ? (
              <Code label="Two lines in a script">{SCRIPT}</Code>
            ) : (
              <Code label="A script as it is">larder run -- python train.py</Code>
            )}
          </div>
        </li>
      </ol>
      <Card className={styles.listening} role="status">
        <span className={styles.dot} aria-hidden="true" />
        Listening for the first run …
      </Card>
    </section>
  );
}
