import { useState } from "react";

import { Button, Empty, Field, Input } from "@/ui";

import { useTitle } from "./title";

/** Where the server does not know who asks: paste a token, or open the address that the command line prints. */
export function SignIn() {
  const [token, setToken] = useState("");
  useTitle("Sign in");
  return (
    <Empty title="Sign in" level={1}>
      <p>
        This server needs a token. Open the address that <code>larder open</code> prints, or paste a token here.
      </p>
      <form className="stack" action="/sign-in" method="get">
        <input type="hidden" name="next" value={window.location.pathname + window.location.search} />
        <Field label="Token">{(aria) => <Input {...aria} name="token" type="password" value={token} onChange={(event) => setToken(event.target.value)} />}</Field>
        <Button kind="primary" type="submit" disabled={!token.trim()}>
          Sign in
        </Button>
      </form>
    </Empty>
  );
}
