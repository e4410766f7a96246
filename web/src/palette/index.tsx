// Ctrl-K: anything by its name. The list itself is loaded a moment after the page.
import { useEffect, useState, type ComponentType } from "react";

import { Dialog, SkeletonLines } from "@/ui";

const OPEN = "larder:palette";
type Finder = ComponentType<{ onClose: () => void }>;

export function openPalette(): void {
  window.dispatchEvent(new Event(OPEN));
}

export function Palette() {
  const [open, setOpen] = useState(false);
  const [Finder, setFinder] = useState<Finder | null>(null);
  const here = Finder !== null;
  useEffect(() => {
    if (here) return;
    // early enough that the first letter typed finds its field; again and again while the server is away
    let timer: ReturnType<typeof setTimeout>;
    // not `import(…).then(…)`: what the build puts around that hides a failure from the second function
    const load = async () => {
      try {
        const loaded = await import("./Finder");
        setFinder(() => loaded.default);
      } catch {
        timer = setTimeout(() => void load(), 3000);
      }
    };
    timer = setTimeout(() => void load(), open ? 0 : 1500);
    return () => clearTimeout(timer);
  }, [open, here]);
  useEffect(() => {
    const toggle = () => setOpen((now) => !now);
    window.addEventListener(OPEN, toggle);
    return () => window.removeEventListener(OPEN, toggle);
  }, []);
  return (
    <Dialog open={open} onClose={() => setOpen(false)} title="Find anything">
      {Finder ? <Finder onClose={() => setOpen(false)} /> : <SkeletonLines lines={6} />}
    </Dialog>
  );
}
