/**
 * What a terminal can show.
 * @module
 */
import process from "node:process";
import { isatty } from "node:tty";

/**
 * Whether stdout is to be coloured: CLICOLOR_FORCE before NO_COLOR (https://no-color.org), which is before the terminal.
 *
 * @param isTerminal Whether it is one.
 * @param environment Environment variables.
 */
export function isColoured(
  isTerminal: boolean = isatty(1),
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

/** What takes two columns: pictures, and what Unicode calls wide. */
const WIDE =
  /^(?:\p{Emoji_Presentation}|.\ufe0f|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{1b2ff}\u{1f200}-\u{1f265}\u{20000}-\u{3fffd}])/u;
/** Marks and invisible characters that stand alone. */
const NARROWEST = /^[\p{Mn}\p{Me}\p{Cf}]/u;
const characters = new Intl.Segmenter();

/**
 * How many columns of a terminal a text takes.
 * @param text The text, without control characters.
 */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const { segment } of characters.segment(text)) {
    columns += NARROWEST.test(segment) ? 0 : WIDE.test(segment) ? 2 : 1;
  }
  return columns;
}
