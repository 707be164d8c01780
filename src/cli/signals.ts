/**
 * Signals that are meant for a command which runs in our place.
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Child } from "../runtime/child.ts";

/** Signals that a terminal sends to everybody in its foreground, the command included. */
const OF_TERMINALS = ["SIGINT", "SIGQUIT", "SIGHUP"] as const;
const PASSED = [...OF_TERMINALS, "SIGTERM", "SIGUSR1", "SIGUSR2"] as const;
/** Signals that end the program when the command ended before. */
const ENDING: readonly string[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/**
 * Passes signals on to a process.
 *
 * @param child The process.
 * @returns Resolves `interrupted` at the first signal to end after the process ended.
 */
export function passSignals(child: Child): { interrupted: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isOver = false;
  child.exit.then(() => isOver = true);
  for (const signal of PASSED) {
    process.on(signal, () => {
      if (isOver) {
        if (ENDING.includes(signal)) resolve();
      } else if (!OF_TERMINALS.some((name) => name === signal) || !isInForeground()) {
        child.kill(signal);
      }
    });
  }
  return { interrupted: promise };
}

/** Whether a terminal sends its signals to our process group, and so to the command. */
function isInForeground(): boolean {
  try {
    // Behind the name, which may hold anything: state, parent, group, session, terminal, its foreground group.
    const [, , group, , , foreground] = readFileSync("/proc/self/stat", "utf8")
      .replace(/^.*\) /s, "").split(" ");
    return group === foreground;
  } catch {
    return process.stdin.isTTY === true;
  }
}
