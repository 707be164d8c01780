/**
 * Where the files of this user are (XDG base directory specification).
 * @module
 */
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/**
 * The directory of this program for one kind of files.
 *
 * @param variable The variable that names the place of such files.
 * @param usual The place where none is named, seen from the user's home.
 * @param home Tells the user's home; the system by default.
 * @returns Its path; null where nobody knows one, as of a user without a name and without HOME.
 */
export function userDirectory(
  variable: "XDG_CONFIG_HOME" | "XDG_STATE_HOME",
  usual: string,
  home: () => string | null = homedir,
): string | null {
  const named = process.env[variable];
  if (named) return join(named, "stream");
  try {
    const path = home();
    // Deno says null, Bun and Node throw.
    return path === null ? null : join(path, usual, "stream");
  } catch {
    return null;
  }
}
