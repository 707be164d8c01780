/**
 * What a terminal can show.
 * @module
 */
import process from "node:process";

/**
 * Whether stdout is to be coloured: CLICOLOR_FORCE before NO_COLOR (https://no-color.org), which is before the terminal.
 *
 * @param isTerminal Whether it is one.
 * @param environment Environment variables.
 */
export function isColoured(
  isTerminal: boolean = process.stdout.isTTY === true,
  environment: Record<string, string | undefined> = process.env,
): boolean {
  const { CLICOLOR_FORCE, NO_COLOR, TERM } = environment;
  if (CLICOLOR_FORCE !== undefined && CLICOLOR_FORCE !== "" && CLICOLOR_FORCE !== "0") return true;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  return isTerminal && TERM !== "dumb";
}

/** Ways to show text. */
export const STYLES = {
  bold: "1",
  dim: "2",
  red: "31",
  green: "32",
  yellow: "33",
  blue: "34",
  magenta: "35",
  cyan: "36",
} as const;

/**
 * A text in a style.
 * @param style Its name.
 * @param text The text.
 */
export function styled(style: keyof typeof STYLES, text: string): string {
  return `\x1b[${STYLES[style]}m${text}\x1b[0m`;
}
