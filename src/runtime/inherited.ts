/**
 * What this process was started with, and what it starts is to have, too. To be loaded before anything is opened or
 * listened to: later nothing tells what was there.
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { constants } from "node:os";

/** Signals that a parent ignores for its children: `nohup`, or the shell for what a script runs in the background. */
const IGNORABLE = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"] as const;
/** Above it stand no descriptors that somebody chose. */
const MAX_DESCRIPTOR = 1023;
/** Below the limit of descriptors the runtimes need some themselves to hand others over. */
const KEPT_DESCRIPTORS = 64;

/** Signals that were ignored when this process began, where Linux says so. */
export const ignoredSignals: readonly NodeJS.Signals[] = readIgnored();

/**
 * Descriptors above stderr that were open when this process began, such as those of make's job server. On Deno none:
 * there children have them by themselves.
 */
export const openDescriptors: readonly number[] = "Deno" in globalThis ? [] : readOpen();

function readIgnored(): NodeJS.Signals[] {
  try {
    const [, mask] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))!;
    const isIgnored = (number: number) => (BigInt(`0x${mask}`) >> BigInt(number - 1) & 1n) === 1n;
    return IGNORABLE.filter((name) => isIgnored(constants.signals[name]));
  } catch {
    return [];
  }
}

function readOpen(): number[] {
  try {
    const [, limit] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))!;
    const end = Math.min(MAX_DESCRIPTOR, Number(limit) - KEPT_DESCRIPTORS);
    return readdirSync("/proc/self/fd").map(Number)
      .filter((descriptor) => descriptor > 2 && descriptor < end)
      .filter(isOfOthers);
  } catch {
    return [];
  }
}

/** Whether a descriptor is none of the runtime's own, which are of the event loop, nor that of the list itself. */
function isOfOthers(descriptor: number): boolean {
  try {
    return !readlinkSync(`/proc/self/fd/${descriptor}`).startsWith("anon_inode:");
  } catch {
    return false;
  }
}
