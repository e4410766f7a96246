import { useEffect, useRef, useState, type ReactNode } from "react";

/** Mounts its content while it is near the window, and keeps its place otherwise: for pages of many charts. */
export function Visible({ children, height, margin = 300 }: { children: ReactNode; height: number; margin?: number }) {
  const place = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
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
