// What the table shows only when asked: fetched then.
import { lazy, Suspense, type ComponentProps } from "react";

const Share = lazy(() => import("../share/ShareDialog").then((module) => ({ default: module.ShareDialog })));

export function ShareDialog(props: ComponentProps<typeof Share>) {
  return (
    <Suspense fallback={null}>
      <Share {...props} />
    </Suspense>
  );
}
