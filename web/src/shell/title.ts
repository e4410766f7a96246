import { useEffect } from "react";

/** The window's title while mounted: "queues · Larder". */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · Larder` : "Larder";
  }, [title]);
}
