/**
 * Signals: those that end us in good order, and those that are meant for a command which runs in our place.
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Child } from "../runtime/child.ts";

/** Signals that a terminal sends to everybody in its foreground, the command included. */
const OF_TERMINALS = ["SIGINT", "SIGQUIT", "SIGHUP"] as const;
const PASSED = [...OF_TERMINALS, "SIGTERM", "SIGUSR1", "SIGUSR2"] as const;
/** Signals that end the program in good order. */
const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Whether the program was started to outlive its terminal, as by `nohup`; listening to the signal would undo it. */
const outlivesTerminal = isIgnored(1);

/** Whether Linux says that a signal was ignored when this process began. */
function isIgnored(number: number): boolean {
  try {
    const [, mask] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))!;
    return (BigInt(`0x${mask}`) >> BigInt(number - 1) & 1n) === 1n;
  } catch {
    return false;
  }
}

/**
 * Listens for signals that end the program in good order: Ctrl-C, SIGTERM, and the end of its terminal unless that
 * was ignored at its start.
 *
 * @param end Called at each of them.
 * @param signals Those to listen to.
 */
export function onEnd(
  end: (signal: NodeJS.Signals) => void,
  signals: readonly NodeJS.Signals[] = ENDING,
): void {
  for (const signal of signals) {
    process.on(signal, () => {
      // The listener stays: without one, Deno would end all the same.
      if (signal !== "SIGHUP" || !outlivesTerminal) end(signal);
    });
  }
}

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
      if (signal === "SIGHUP" && outlivesTerminal) return;
      if (isOver) {
        if (ENDING.some((name) => name === signal)) resolve();
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
