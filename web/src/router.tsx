// Every address of the pages; each page is loaded when it is first asked for.
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";

import { queries } from "./api/query";
import { parseSearch, stringifySearch, type Search } from "./nav";
import { begin, idsOf, isPlain } from "./pages/compare/opening";
import { beginRun, isPlainRun } from "./pages/run/opening";
import { sharedQuery } from "./pages/share/opening";
import { NotHere, PageProblem } from "./shell/NotHere";
import { Shell } from "./shell/Shell";
import { SignIn } from "./shell/SignIn";
import { PageSkeleton } from "./ui/Skeleton";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: NotHere,
  errorComponent: PageProblem,
  validateSearch: (search: Record<string, unknown>): Search => search as Search,
});

const home = createRoute({ getParentRoute: () => root, path: "/", component: lazyRouteComponent(() => import("./pages/home")) });
const runs = createRoute({ getParentRoute: () => root, path: "/runs", component: lazyRouteComponent(() => import("./pages/runs")) });
const project = createRoute({
  getParentRoute: () => root,
  path: "/projects/$project",
  component: lazyRouteComponent(() => import("./pages/runs")),
});
const run = createRoute({
  getParentRoute: () => root,
  path: "/runs/$run/{-$tab}",
  loaderDeps: ({ search }: { search: Search }) => ({ plain: isPlainRun(search), together: search.split !== "1" }),
  loader: ({ params, deps }) => beginRun(params.run, { charts: params.tab === "metrics" && deps.plain, together: deps.together }),
  component: lazyRouteComponent(() => import("./pages/run")),
});
const compare = createRoute({
  getParentRoute: () => root,
  path: "/compare",
  loaderDeps: ({ search }: { search: Search }) => ({ runs: search.runs, system: search.system === "1", plain: isPlain(search) }),
  // not waited for: what the page will ask first is under way while its code is loaded
  loader: ({ deps }) => begin(idsOf(deps.runs), deps.system, deps.plain),
  component: lazyRouteComponent(() => import("./pages/compare")),
});
const queues = createRoute({
  getParentRoute: () => root,
  path: "/queues/{-$queue}",
  component: lazyRouteComponent(() => import("./pages/queues")),
});
const agents = createRoute({ getParentRoute: () => root, path: "/agents", component: lazyRouteComponent(() => import("./pages/agents")) });
const datasets = createRoute({ getParentRoute: () => root, path: "/datasets", component: lazyRouteComponent(() => import("./pages/datasets")) });
const dataset = createRoute({
  getParentRoute: () => root,
  path: "/datasets/$dataset/{-$version}/{-$section}",
  component: lazyRouteComponent(() => import("./pages/datasets"), "OneDataset"),
});
const settings = createRoute({
  getParentRoute: () => root,
  path: "/settings/{-$section}",
  component: lazyRouteComponent(() => import("./pages/settings")),
});
const share = createRoute({
  getParentRoute: () => root,
  path: "/share/$token",
  loader: ({ params }) => void queries.prefetchQuery(sharedQuery(params.token)),
  component: lazyRouteComponent(() => import("./pages/share")),
});

const signIn = createRoute({ getParentRoute: () => root, path: "/sign-in", component: SignIn });

export const router = createRouter({
  routeTree: root.addChildren([home, runs, project, run, compare, queues, agents, datasets, dataset, settings, share, signIn]),
  parseSearch,
  stringifySearch,
  defaultPreload: "intent",
  defaultPendingComponent: PageSkeleton,
  defaultPendingMs: 120,
  defaultErrorComponent: PageProblem,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
