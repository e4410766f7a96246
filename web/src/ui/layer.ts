// Where floating things are mounted: in the open dialog, which covers all else, or in the body.
import { createContext, useContext } from "react";

export const LayerContext = createContext<HTMLElement | null>(null);

export function useLayer(): HTMLElement | undefined {
  return useContext(LayerContext) ?? undefined;
}
