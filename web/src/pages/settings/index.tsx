// Settings: who you are here, your tokens, how the pages look, what is shared, who else is here.
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { lazy, Suspense } from "react";

import { api, hasSignedIn, Problem, signOut } from "@/api/client";
import { useTitle } from "@/shell/title";
import { Button, ProblemBanner, Segments, SkeletonLines, TabLinks, toastProblem, useTheme } from "@/ui";

import styles from "./settings.module.css";
import { Tokens } from "./Tokens";
import { People } from "./People";

const Shares = lazy(() => import("@/pages/share/ShareList"));

const SECTIONS = [
  { id: "profile", label: "Profile" },
  { id: "tokens", label: "Tokens" },
  { id: "appearance", label: "Appearance" },
  { id: "shares", label: "Shares" },
  { id: "people", label: "People" },
] as const;
type Section = (typeof SECTIONS)[number]["id"];

export default function Settings() {
  const { section } = useParams({ strict: false }) as { section?: string };
  const current: Section = SECTIONS.find((one) => one.id === section)?.id ?? "profile";
  const label = SECTIONS.find((one) => one.id === current)!.label;
  useTitle(`${label} · settings`);
  const who = useQuery({ queryKey: ["whoami"], queryFn: ({ signal }) => api.get("/v1/whoami", { signal }), staleTime: 5 * 60_000 });
  if (who.error instanceof Problem && who.error.code === "unauthenticated") throw who.error;
  if (who.error && !who.data) return <ProblemBanner error={who.error} retry={() => void who.refetch()} />;
  return (
    <div className="stack">
      <h1>Settings</h1>
      <TabLinks tabs={[...SECTIONS]} current={current} to={(id) => ({ to: "/settings/{-$section}", params: { section: id } })} label="Settings" />
      <section className={styles.section} aria-label={label}>
        {!who.data ? (
          <SkeletonLines lines={5} />
        ) : current === "profile" ? (
          <Profile who={who.data} />
        ) : current === "tokens" ? (
          <Tokens who={who.data} />
        ) : current === "appearance" ? (
          <Appearance />
        ) : current === "people" ? (
          <People who={who.data} />
        ) : (
          <Suspense fallback={<SkeletonLines lines={5} />}>
            <Shares />
          </Suspense>
        )}
      </section>
    </div>
  );
}

export interface Who {
  user: string;
  tenant: string;
  role: string;
  team?: string;
  token?: string;
}

const ROLES: Record<string, string> = {
  viewer: "You see everything and change nothing.",
  contributor: "You record runs, put them into queues, move and stop them.",
  maintainer: "You also steer queues and agents.",
  admin: "You also give others their tokens and teams.",
};

function Profile({ who }: { who: Who }) {
  return (
    <div className="stack">
      <dl className={styles.facts}>
        <dt>User</dt>
        <dd>{who.user}</dd>
        <dt>Role</dt>
        <dd>
          {who.role} <span className="quiet small">{ROLES[who.role]}</span>
        </dd>
        <dt>Team</dt>
        <dd>{who.team || <span className="quiet">none</span>}</dd>
        <dt>Tenant</dt>
        <dd>{who.tenant}</dd>
        <dt>Server</dt>
        <dd className="mono">{location.origin}</dd>
      </dl>
      {hasSignedIn() && (
        <div className="row">
          <Button onClick={() => void signOut().then(() => location.assign("/sign-in"), toastProblem)}>Sign out</Button>
          <span className="quiet small">This browser forgets its token. The token itself stays good: end it under Tokens.</span>
        </div>
      )}
    </div>
  );
}

function Appearance() {
  const [theme, setTheme] = useTheme();
  return (
    <div className="stack">
      <h2>Theme</h2>
      <div>
        <Segments
          label="Theme" value={theme} onChange={setTheme}
          options={[
            { id: "system", label: "As the system" },
            { id: "light", label: "Light" },
            { id: "dark", label: "Dark" },
          ]}
        />
      </div>
      <p className="quiet small">Kept in this browser. Less motion and more contrast follow the settings of your system.</p>
    </div>
  );
}
