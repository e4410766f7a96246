import { Link, useRouter, type ErrorComponentProps } from "@tanstack/react-router";
import { useQueryErrorResetBoundary } from "@tanstack/react-query";

import { Problem } from "@/api/client";
import { Button, Empty, ProblemBanner } from "@/ui";

import { SignIn } from "./SignIn";
import { useTitle } from "./title";

export function NotHere() {
  useTitle("Not here");
  return (
    <Empty title="There is nothing at this address" level={1}>
      <p>The run, queue or page may have been deleted, or the address is not whole.</p>
      <Link to="/">To the first page</Link>
    </Empty>
  );
}

/** Why a page could not be shown: a refusal in the server's words, or our own mistake. */
export function PageProblem({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  const boundary = useQueryErrorResetBoundary();
  if (error instanceof Problem && error.code === "unauthenticated") return <SignIn />;
  if (error instanceof Problem && error.code === "not_found")
    return (
      <Empty title="Not here" level={1}>
        <p>{error.message}</p>
        <Button onClick={() => router.history.back()}>Back</Button>
      </Empty>
    );
  return (
    <ProblemBanner
      error={error}
      retry={() => {
        // a part of the pages that could not be loaded is not asked for again by the browser: only a fresh start does
        if (!(error instanceof Problem) && /dynamically imported|preload|importing a module/i.test(String(error))) return window.location.reload();
        boundary.reset();
        reset();
        void router.invalidate();
      }}
    />
  );
}
