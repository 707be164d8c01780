/**
 * What escape sequences make of text: colours and attributes (ECMA-48, SGR), and links (OSC 8).
 * @module
 */

/** No colour of its own; 0 to 255 of the palette; or 0x1000000 + RGB. */
export type Colour = number;

/** The colour of whatever stands around. */
export const DEFAULT_COLOUR: Colour = -1;
const TRUE_COLOUR = 0x1000000;

/** How a run of text looks. */
export interface Style {
  readonly foreground: Colour;
  readonly background: Colour;
  readonly bold: boolean;
  readonly dim: boolean;
  readonly italic: boolean;
  readonly underline: boolean;
  readonly inverse: boolean;
  readonly hidden: boolean;
  readonly strike: boolean;
  /** Where it leads, http or https; null for nowhere. */
  readonly link: string | null;
}

/** Text without any attribute. */
export const PLAIN: Style = {
  foreground: DEFAULT_COLOUR,
  background: DEFAULT_COLOUR,
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  inverse: false,
  hidden: false,
  strike: false,
  link: null,
};

/**
 * The style behind a sequence `ESC [ parameters m`.
 * @param style The style before it.
 * @param parameters Numbers with `;` or `:` between them.
 */
export function afterSgr(style: Style, parameters: string): Style {
  const codes = parameters === "" ? [0] : parameters.split(/[;:]/).map(Number);
  let next: Style = style;
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at];
    if (code === 38 || code === 48) {
      const [colour, used] = extendedColour(codes, at + 1, parameters);
      at += used;
      if (colour === null) continue;
      next = code === 38 ? { ...next, foreground: colour } : { ...next, background: colour };
    } else next = afterCode(next, code);
  }
  return isPlain(next) ? PLAIN : next;
}

/** A colour of the palette of 256 or of 24 bits, and how many codes it took. */
function extendedColour(
  codes: number[],
  at: number,
  parameters: string,
): [colour: Colour | null, used: number] {
  if (codes[at] === 5) return [within(codes[at + 1], 255), 2];
  if (codes[at] !== 2) return [null, 1];
  // With colons a colour space may stand before the three: 38:2::R:G:B.
  const skip = parameters.includes(":") && codes.length - at > 4 ? 1 : 0;
  const [red, green, blue] = codes.slice(at + 1 + skip, at + 4 + skip).map((c) => within(c, 255));
  if (red === null || green === null || blue === null || blue === undefined) {
    return [null, 4 + skip];
  }
  return [TRUE_COLOUR + (red << 16) + (green << 8) + blue, 4 + skip];
}

function within(code: number | undefined, max: number): number | null {
  return code !== undefined && code >= 0 && code <= max ? code : null;
}

function afterCode(style: Style, code: number): Style {
  switch (code) {
    case 0:
      return { ...PLAIN, link: style.link };
    case 1:
      return { ...style, bold: true };
    case 2:
      return { ...style, dim: true };
    case 3:
      return { ...style, italic: true };
    case 4:
    case 21:
      return { ...style, underline: true };
    case 7:
      return { ...style, inverse: true };
    case 8:
      return { ...style, hidden: true };
    case 9:
      return { ...style, strike: true };
    case 22:
      return { ...style, bold: false, dim: false };
    case 23:
      return { ...style, italic: false };
    case 24:
      return { ...style, underline: false };
    case 27:
      return { ...style, inverse: false };
    case 28:
      return { ...style, hidden: false };
    case 29:
      return { ...style, strike: false };
    case 39:
      return { ...style, foreground: DEFAULT_COLOUR };
    case 49:
      return { ...style, background: DEFAULT_COLOUR };
  }
  if (code >= 30 && code <= 37) return { ...style, foreground: code - 30 };
  if (code >= 40 && code <= 47) return { ...style, background: code - 40 };
  if (code >= 90 && code <= 97) return { ...style, foreground: code - 82 };
  if (code >= 100 && code <= 107) return { ...style, background: code - 92 };
  return style;
}

/**
 * The style behind an operating system command; all but links are swallowed.
 * @param style The style before it.
 * @param command What stands between `ESC ]` and its end.
 */
export function afterOsc(style: Style, command: string): Style {
  const [, target] = /^8;[^;]*;(.*)$/s.exec(command) ?? [];
  if (target === undefined) return style;
  const link = isWebAddress(target) ? target : null;
  const next = { ...style, link };
  return isPlain(next) ? PLAIN : next;
}

/** Only addresses that a browser opens as a page: no scripts, no programs. */
export function isWebAddress(text: string): boolean {
  return /^https?:\/\/[^\s]+$/i.test(text) && URL.canParse(text);
}

function isPlain(style: Style): boolean {
  return (Object.keys(PLAIN) as (keyof Style)[]).every((key) => style[key] === PLAIN[key]);
}
