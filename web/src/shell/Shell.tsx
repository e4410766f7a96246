// What stands around every page: the bar, the keys that work everywhere, messages, and whether the server answers.
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { useEffect, useRef, useState, useSyncExternalStore, type RefObject } from "react";

import { whoAsks } from "@/api/client";

import { useKeyList, useKeys } from "@/keys";
import { LiveBridge, useServerAway } from "@/live";
import { openPalette, Palette } from "@/palette";
import { Button, buttonClass, Dialog, Icon, IconButton, Kbd, Menu, Toasts, Tooltip, useTheme, type Theme } from "@/ui";

import styles from "./Shell.module.css";
import { SignIn } from "./SignIn";

const PAGES = [
  { to: "/", label: "Home" },
  { to: "/runs", label: "Runs" },
  { to: "/queues/{-$queue}", label: "Queues" },
  { to: "/agents", label: "Agents" },
  { to: "/datasets", label: "Data" },
] as const;

export function Shell() {
  const path = useRouterState({ select: (state) => state.location.pathname });
  // read by people without a login: no bar, no live stream
  return path.startsWith("/share/") || path === "/sign-in" ? <Bare /> : <Whole />;
}

function Bare() {
  return (
    <>
      <main className={styles.main}>
        <Outlet />
      </main>
      <Toasts />
    </>
  );
}

function Whole() {
  const [help, setHelp] = useState(false);
  const navigate = useNavigate();
  const main = useRef<HTMLElement>(null);
  const unknown = useSyncExternalStore(whoAsks.subscribe, whoAsks.isUnknown);
  useFocusOnNewPage(main);
  useKeys(
    {
      "Ctrl+K": { label: "Find anything", run: openPalette, whileTyping: true },
      "?": { label: "List the keys", run: () => setHelp(true) },
      "Shift+H": { label: "Home", run: () => void navigate({ to: "/" }) },
      "Shift+R": { label: "Runs", run: () => void navigate({ to: "/runs" }) },
      "Shift+Q": { label: "Queues", run: () => void navigate({ to: "/queues/{-$queue}", params: { queue: undefined } }) },
      "Shift+A": { label: "Agents", run: () => void navigate({ to: "/agents" }) },
      "Shift+D": { label: "Data", run: () => void navigate({ to: "/datasets" }) },
    },
    { scope: "Everywhere" },
  );
  return (
    <>
      {!unknown && <LiveBridge />}
      <a className={styles.skip} href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>
        To the content
      </a>
      <header className={styles.bar}>
        <Link to="/" className={styles.brand}>
          Larder
        </Link>
        <nav className={styles.nav} aria-label="Pages">
          {PAGES.map(({ to, label }) => (
            // what the address of now says about a queue or a section is not taken along
            <Link key={to} to={to} params={{ queue: undefined }} activeOptions={{ exact: to === "/", includeSearch: false }}>
              {label}
            </Link>
          ))}
        </nav>
        <div className={styles.tools}>
          <Button icon="search" className={styles.find} onClick={openPalette} aria-keyshortcuts="Control+K">
            <span className={styles.findWord}>
              Find<span className="hidden"> anything</span>
            </span>
            <span className={styles.findKey}>
              <Kbd>Ctrl K</Kbd>
            </span>
          </Button>
          <span className={styles.wide}>
            <IconButton icon="help" label="Keys" shortcut="?" onClick={() => setHelp(true)} />
          </span>
          <span className={styles.wide}>
            <ThemeMenu />
          </span>
          <Tooltip text="Settings">
            <Link to="/settings/{-$section}" params={{ section: undefined }} aria-label="Settings" className={buttonClass({ kind: "quiet", iconOnly: true })}>
              <Icon name="settings" />
            </Link>
          </Tooltip>
        </div>
      </header>
      <Away />
      <main ref={main} id="main" className={styles.main} tabIndex={-1}>
        {unknown ? <SignIn /> : <Outlet />}
      </main>
      <Toasts />
      <Palette />
      <KeyHelp open={help} onClose={() => setHelp(false)} />
    </>
  );
}

function ThemeMenu() {
  const [theme, setTheme] = useTheme();
  const item = (id: Theme, label: string) => ({ label, checked: theme === id, onSelect: () => setTheme(id) });
  return (
    <Menu align="end" items={[item("system", "As the system"), item("light", "Light"), item("dark", "Dark")]}>
      <IconButton icon={theme === "dark" ? "moon" : "sun"} label="Theme" tooltip={false} title="Theme" />
    </Menu>
  );
}

function Away() {
  const away = useServerAway();
  return (
    <div role="status" aria-live="polite">
      {away && <div className={styles.away}>The server does not answer. These pages go on by themselves when it is back.</div>}
    </div>
  );
}

function KeyHelp({ open, onClose }: { open: boolean; onClose: () => void }) {
  const list = useKeyList();
  return (
    <Dialog open={open} onClose={onClose} title="Keys" size="wide">
      <div className={styles.keys}>
        {list.map(({ scope, keys }) => (
          <section key={scope}>
            <h3>{scope}</h3>
            <dl>
              {keys.map(([key, label]) => (
                <div key={key} style={{ display: "contents" }}>
                  <dt>
                    {key.split("+").map((part, index) => (
                      <Kbd key={index}>{part.replace("Arrow", "")}</Kbd>
                    ))}
                  </dt>
                  <dd>{label}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}

/** A new page takes the focus, so that a screen reader says so; not the first one, and not a changed filter. */
function useFocusOnNewPage(main: RefObject<HTMLElement | null>): void {
  const page = useRouterState({ select: (state) => state.matches[state.matches.length - 1]?.routeId });
  const before = useRef(page);
  useEffect(() => {
    if (before.current === page) return;
    before.current = page;
    main.current?.focus({ preventScroll: true });
  }, [page, main]);
}
