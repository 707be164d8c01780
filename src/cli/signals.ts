/**
 * Signals: those that end us in good order, and those that are meant for a command which runs in our place.
 * @module
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import type { Child } from "../runtime/child.ts";
import { ignoredSignals } from "../runtime/inherited.ts";

/** Signals that a terminal sends to everybody in its foreground, the command included. */
const OF_TERMINALS = ["SIGINT", "SIGQUIT", "SIGHUP"] as const;
const PASSED = [...OF_TERMINALS, "SIGTERM", "SIGUSR1", "SIGUSR2"] as const;
/** Signals that end the program in good order. */
const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Whoever ends a program and its process group, as `timeout` does, sends it the same signal twice at once. */
const AGAIN_MS = 300;
/** What ended a command may reach us so long after its end. */
const LATE_MS = 500;

/** Whether the program was started to outlive its terminal, as by `nohup`; listening to the signal would undo it. */
const outlivesTerminal = ignoredSignals.includes("SIGHUP");

/**
 * Listens for signals that end the program in good order: Ctrl-C, SIGTERM, and the end of its terminal unless that
 * was ignored at its start.
 *
 * @param end Called at each of them; once for one that comes twice at once.
 * @param signals Those to listen to.
 */
export function onEnd(
  end: (signal: NodeJS.Signals) => void,
  signals: readonly NodeJS.Signals[] = ENDING,
): void {
  for (const signal of signals) {
    let lastMs = -Infinity;
    process.on(signal, () => {
      const nowMs = performance.now();
      if (nowMs - lastMs <= AGAIN_MS) return;
      lastMs = nowMs;
      // The listener stays: without one, Deno would end all the same.
      if (signal !== "SIGHUP" || !outlivesTerminal) end(signal);
    });
  }
}

/**
 * Lets signals end the first process of a container, which the system spares those that it does not listen to; whoever
 * listens to one later decides about it.
 */
export function endAsFirstProcess(): void {
  for (const signal of ENDING.filter((name) => !ignoredSignals.includes(name))) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) process.exit(128 + constants.signals[signal]);
    });
  }
}

/**
 * Passes signals on to a process.
 *
 * @param child The process.
 * @returns Resolves `interrupted` at the first signal to end that came after the process ended, and was not what ended it.
 */
export function passSignals(child: Child): { interrupted: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let overAtMs: number | null = null;
  child.exit.then(() => overAtMs = performance.now());
  for (const signal of PASSED) {
    process.on(signal, () => {
      if (signal === "SIGHUP" && outlivesTerminal) return;
      if (overAtMs !== null) {
        const isLate = performance.now() - overAtMs <= LATE_MS;
        if (!isLate && ENDING.some((name) => name === signal)) resolve();
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
