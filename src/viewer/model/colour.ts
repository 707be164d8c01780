/**
 * Colours that can be read: the palettes of both themes, and the contrast of what a log asks for (WCAG 2.2, 1.4.3).
 * @module
 */
import { DEFAULT_COLOUR, type Style } from "./style.ts";

/** Light or dark. */
export type Theme = "light" | "dark";

/** Smallest contrast between text and what is behind it. */
const MIN_CONTRAST = 4.5;

/** Red, green and blue, 0 to 255. */
type Rgb = readonly [number, number, number];

/** What stands behind the lines, and the text on it; the style sheet has the same. */
export const SURFACES: Record<Theme, Surface> = {
  light: { background: "#ffffff", foreground: "#1f2328", marked: ["#eaf2ff", "#fdecec"] },
  dark: { background: "#0f1216", foreground: "#d6dce4", marked: ["#16263d", "#2f1718"] },
};

/** Colours of a theme. */
interface Surface {
  background: string;
  foreground: string;
  /** Backgrounds of lines that were linked, and of those that tell of errors. */
  marked: readonly string[];
}

const PALETTES: Record<Theme, readonly string[]> = {
  light: [
    ...["#1f2328", "#b3201f", "#1a6b2c", "#7a5200", "#0a55c4", "#8b2bb0", "#0b6770", "#59636e"],
    ...["#57606a", "#c5292c", "#1b7f37", "#8a5a00", "#0969da", "#a33bc7", "#0f7680", "#4b545e"],
  ],
  dark: [
    ...["#7f8a96", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#d18cff", "#39c5cf", "#b1bac4"],
    ...["#8d98a5", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#dfb3ff", "#56d4dd", "#f0f6fc"],
  ],
};
/** What a background means in every terminal, whatever the theme: these must not turn into their opposite. */
const BACKGROUNDS: readonly string[] = [
  ...["#000000", "#c22b2b", "#2a8f3c", "#c19a1b", "#2463c9", "#9a3fb8", "#178c96", "#c9ced4"],
  ...["#57606a", "#ee5b54", "#4cc463", "#e8c547", "#5a9cf8", "#cf7de8", "#4bc6cf", "#ffffff"],
];

/** Colours as a style sheet takes them; null for those of the surroundings. */
export interface Paint {
  readonly foreground: string | null;
  readonly background: string | null;
}

const UNPAINTED: Paint = { foreground: null, background: null };
const MAX_PAINTS = 4096;
const paints = new Map<string, Paint>();

/**
 * The colours of a style, moved as far as it takes to read them.
 * @param style The style.
 * @param theme The theme.
 */
export function paintOf(style: Style, theme: Theme): Paint {
  const { foreground, background, inverse, dim } = style;
  if (foreground === DEFAULT_COLOUR && background === DEFAULT_COLOUR && !inverse && !dim) {
    return UNPAINTED;
  }
  const key = `${theme} ${foreground} ${background} ${inverse} ${dim}`;
  let paint = paints.get(key);
  if (paint === undefined) {
    if (paints.size >= MAX_PAINTS) paints.clear();
    paints.set(key, paint = makePaint(style, theme));
  }
  return paint;
}

function makePaint({ foreground, background, inverse, dim }: Style, theme: Theme): Paint {
  const surface = SURFACES[theme];
  let text = foreground === DEFAULT_COLOUR
    ? parse(surface.foreground)
    : rgbOf(foreground, PALETTES[theme]);
  let behind = background === DEFAULT_COLOUR
    ? parse(surface.background)
    : rgbOf(background, BACKGROUNDS);
  if (inverse) [text, behind] = [behind, text];
  if (dim) text = mix(text, behind, 0.35);
  const isBare = background === DEFAULT_COLOUR && !inverse;
  text = readable(text, isBare ? [behind, ...surface.marked.map(parse)] : [behind]);
  return { foreground: format(text), background: isBare ? null : format(behind) };
}

/** The nearest colour in the direction of black or white that can be read on all others. */
function readable(text: Rgb, behind: readonly Rgb[]): Rgb {
  const isReadable = (colour: Rgb) => behind.every((one) => contrast(colour, one) >= MIN_CONTRAST);
  if (isReadable(text)) return text;
  const white: Rgb = [255, 255, 255], black: Rgb = [0, 0, 0];
  const goal = contrast(white, behind[0]) >= contrast(black, behind[0]) ? white : black;
  for (let part = 0.1; part < 1; part += 0.1) {
    const moved = mix(text, goal, part);
    if (isReadable(moved)) return moved;
  }
  return goal;
}

/** Contrast of two colours, 1 to 21. */
export function contrast(one: Rgb, other: Rgb): number {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function mix(from: Rgb, to: Rgb, part: number): Rgb {
  return [0, 1, 2].map((at) => Math.round(from[at] + (to[at] - from[at]) * part)) as unknown as Rgb;
}

/** The palette of 256 as xterm has it: 16 that a theme chooses, a cube of 6 × 6 × 6, 24 greys. */
function rgbOf(colour: number, palette: readonly string[]): Rgb {
  if (colour >= 0x1000000) return [(colour >> 16) & 255, (colour >> 8) & 255, colour & 255];
  if (colour < 16) return parse(palette[colour]);
  if (colour >= 232) {
    const grey = 8 + (colour - 232) * 10;
    return [grey, grey, grey];
  }
  const step = (part: number) => part === 0 ? 0 : 55 + part * 40;
  const cube = colour - 16;
  return [step(Math.floor(cube / 36)), step(Math.floor(cube / 6) % 6), step(cube % 6)];
}

/** Reads `#rrggbb`. */
export function parse(text: string): Rgb {
  const number = parseInt(text.slice(1), 16);
  return [(number >> 16) & 255, (number >> 8) & 255, number & 255];
}

function format(colour: Rgb): string {
  return `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
