// The shares that open, with a way to copy and to revoke each; and the switch for those that open to anyone.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { plural } from "@/format";
import { Button, Checkbox, Confirm, CopyButton, ProblemBanner, SkeletonLines, Time } from "@/ui";

import { day, policyQuery, useRevoke, useSetPolicy, useShares, useWhoami, whole, type Share } from "./data";
import styles from "./share.module.css";

export function ShareList({ run = "", heading }: { run?: string; heading?: string }) {
  const shares = useShares(run);
  const revoke = useRevoke();
  const [asked, setAsked] = useState<Share | null>(null);
  if (shares.error) return <ProblemBanner error={shares.error} />;
  if (!shares.data) return heading ? null : <SkeletonLines lines={3} />;
  if (!shares.data.shares.length) return heading ? null : <p className="quiet">Nothing is shared. A run, a comparison and the table of runs have a button “Share”.</p>;
  return (
    <section>
      {heading && <h3>{heading}</h3>}
      <ul className={styles.list}>
        {shares.data.shares.map((share) => (
          <li key={share.id} className={styles.item}>
            <div>
              <a href={share.path} target="_blank" rel="noopener" className="clip">
                {share.title || named(share)}
              </a>
              <div className="quiet small">
                {share.title && `${named(share)} · `}
                {share.public ? "anyone with the address" : "people who sign in"} · by {share.user} · opens until {day(share.expires)}
                {share.opened ? (
                  <>
                    {" "}
                    · last opened <Time at={share.opened} />
                  </>
                ) : (
                  " · not opened yet"
                )}
              </div>
            </div>
            <CopyButton text={() => whole(share)} what="the address" />
            <Button size="small" kind="danger" onClick={() => setAsked(share)}>
              Revoke
            </Button>
          </li>
        ))}
      </ul>
      <Confirm
        open={asked !== null}
        title="Revoke this share?"
        action="Revoke"
        busy={revoke.isPending}
        onClose={() => setAsked(null)}
        onConfirm={() => {
          if (asked) revoke.mutate(asked);
          setAsked(null);
        }}
      >
        <p>Its address opens nothing any more, also for those who have it already. This cannot be undone.</p>
      </Confirm>
    </section>
  );
}

function named(share: Share): string {
  if (share.view) return `A view${share.view.project ? ` of ${share.view.project}` : ""}`;
  return share.runs.length === 1 ? `Run ${share.runs[0]!.slice(-8)}` : `Comparison of ${plural(share.runs.length, "run")}`;
}

/** For the settings: all shares, and whether they may open to anyone. */
export default function ShareSettings() {
  const policy = useQuery(policyQuery);
  const me = useWhoami();
  const set = useSetPolicy();
  return (
    <div className="stack">
      <Checkbox
        label="Shares may open without signing in"
        checked={policy.data?.public ?? false}
        disabled={!policy.data || me.data?.role !== "admin" || set.isPending}
        onChange={(event) => set.mutate(event.target.checked)}
      />
      <p className="quiet small">
        Each share still says whether it does. Switched off, those that do need a sign-in at once.
        {me.data && me.data.role !== "admin" && " An admin can change this."}
      </p>
      <ShareList />
    </div>
  );
}
