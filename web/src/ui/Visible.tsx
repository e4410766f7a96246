import { useEffect, useRef, useState, type ReactNode } from "react";

/** What is in the window comes first; what is near it when the browser has time, or after so many milliseconds. */
const LATEST = 600;
function whenIdle(work: () => void): () => void {
  if (!("requestIdleCallback" in window)) {
    const timer = setTimeout(work, LATEST);
    return () => clearTimeout(timer);
  }
  const idle = window.requestIdleCallback(work, { timeout: LATEST });
  return () => window.cancelIdleCallback(idle);
}

/** Mounts its content while it is near the window, and keeps its place otherwise: for pages of many charts. */
export function Visible({ children, height, margin: reach = 300 }: { children: ReactNode; height: number; margin?: number }) {
  const place = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
  const [margin, setMargin] = useState(0);
  useEffect(() => whenIdle(() => setMargin(reach)), [reach]);
  useEffect(() => {
    const watch = new IntersectionObserver((seen) => setNear(seen[seen.length - 1]!.isIntersecting), { rootMargin: `${margin}px 0px` });
    watch.observe(place.current!);
    return () => watch.disconnect();
  }, [margin]);
  return (
    <div ref={place} style={{ minHeight: height }}>
      {near && children}
    </div>
  );
}
