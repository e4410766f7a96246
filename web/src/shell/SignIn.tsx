import { useState } from "react";

import { Problem, signIn } from "@/api/client";
import { Button, Empty, Field, Input } from "@/ui";

import { useTitle } from "./title";

/** Where the server does not know who asks: paste a token. */
export function SignIn() {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useTitle("Sign in");
  const send = async () => {
    setBusy(true);
    setProblem("");
    try {
      await signIn(token.trim());
      goOn();
    } catch (error) {
      const told = error instanceof Problem ? error.message : String(error);
      setProblem(`${told.slice(0, 1).toUpperCase()}${told.slice(1)}${/[.!?]$/.test(told) ? "" : "."}`);
      setBusy(false);
    }
  };
  return (
    <Empty title="Sign in to Larder" level={1}>
      <p>
        This server needs a token. Where you are logged in, <code>larder tokens issue</code> makes one.
      </p>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim()) void send();
        }}
      >
        <Field label="Token" hint="It begins with larder_. Whoever has none asks an admin." error={problem}>
          {(aria) => <Input {...aria} autoFocus type="password" value={token} spellCheck={false} onChange={(event) => setToken(event.target.value)} />}
        </Field>
        <div>
          <Button kind="primary" type="submit" disabled={busy || !token.trim()}>
            Sign in
          </Button>
        </div>
      </form>
    </Empty>
  );
}

/** Back to the page that asked, which is of this server and no other. */
function goOn(): void {
  if (location.pathname !== "/sign-in") return location.reload();
  const wanted = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  location.replace(wanted.origin === location.origin ? wanted.href : "/");
}
