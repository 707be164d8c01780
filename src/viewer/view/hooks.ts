/**
 * What components share: redrawing, clocks, themes.
 * @module
 */
import { useEffect, useState } from "preact/hooks";
import type { Theme } from "../model/colour.ts";
import type { Log } from "../model/log.ts";
import { Throttle } from "../model/throttle.ts";
import { SettingsStore } from "../model/settings.ts";

/** The settings of this browser; where it keeps nothing, of this page. */
export const settings = new SettingsStore({
  getItem: (key) => localStorage.getItem(key),
  setItem: (key, value) => localStorage.setItem(key, value),
});

/** Figures around a live log are read by people: they need not change more often, in ms. */
const FIGURES_MS = 150;

/** Redraws a component, at once and then at most so often. */
export function useRedraw(): () => void {
  const [, set] = useState(0);
  const [redraw] = useState(() => new Throttle(() => set((count) => count + 1), FIGURES_MS).ask);
  return redraw;
}

/** Redraws a component whenever a log changes. */
export function useLog(log: Log): void {
  const redraw = useRedraw();
  useEffect(() => log.listen(redraw), [log]);
}

/** Redraws a component every second while it has to. */
export function useSeconds(active: boolean): void {
  const redraw = useRedraw();
  useEffect(() => {
    if (!active) return;
    const timer = setInterval(redraw, 1000);
    return () => clearInterval(timer);
  }, [active]);
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** The theme that is shown. */
export function themeNow(): Theme {
  const { theme } = settings.all;
  if (theme !== "system") return theme;
  return dark.matches ? "dark" : "light";
}

/** Shows the chosen theme, and hears when the system's changes. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = themeNow();
}

/** Hears when the system's theme changes; returns its end. */
export function onSystemTheme(listener: () => void): () => void {
  dark.addEventListener("change", listener);
  return () => dark.removeEventListener("change", listener);
}

/** Calls back before the page is printed, which is done in the light theme, and after that; returns its end. */
export function onPrint(before: () => void, after: () => void): () => void {
  const prints = () => {
    document.documentElement.dataset.theme = "light";
    before();
  };
  const printed = () => {
    applyTheme();
    after();
  };
  addEventListener("beforeprint", prints);
  addEventListener("afterprint", printed);
  return () => {
    removeEventListener("beforeprint", prints);
    removeEventListener("afterprint", printed);
  };
}

/** Calls back when the page is hidden or shown; returns its end. */
export function onVisibility(listener: (visible: boolean) => void): () => void {
  const changed = () => listener(document.visibilityState === "visible");
  document.addEventListener("visibilitychange", changed);
  return () => document.removeEventListener("visibilitychange", changed);
}
