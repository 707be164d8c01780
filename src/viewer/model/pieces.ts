/**
 * A row cut into pieces that are drawn alike: styles, links, hits, and characters that must not act.
 * @module
 */
import { isWebAddress, PLAIN, type Style } from "./style.ts";
import type { Row } from "./terminal.ts";

/** Part of a row's text. */
export interface Range {
  /** First character, in UTF-16 units. */
  start: number;
  /** Behind the last one. */
  end: number;
}

/** What is drawn in one go. */
export interface Piece extends Range {
  text: string;
  style: Style;
  /** Where it leads; null for nowhere. */
  link: string | null;
  /** Whether it is part of a hit. */
  hit: boolean;
  /** Name of a character that is not drawn as itself; null for text. */
  mark: string | null;
}

/**
 * Characters that hide, reorder or stand for bytes that are no text: controls, bidi controls, zero widths, tags, and
 * what the decoder puts where UTF-8 is invalid.
 */
const TRICKS =
  // deno-lint-ignore no-control-regex
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ufffd]|\udb40[\udc00-\udc7f]/g;
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\u200b-\u200f\u2028-\u202e\u2066-\u2069]+/gi;

/**
 * Cuts a row.
 * @param row The row.
 * @param hits What a search found in its text, in order.
 */
export function piecesOf(row: Row, hits: readonly Range[] = []): Piece[] {
  const { text, spans } = row;
  const links = addressesIn(text);
  const tricks = tricksIn(text);
  if (spans.length + links.length + tricks.length + hits.length === 0) {
    return text === "" ? [] : [piece(text, 0, text.length, PLAIN, null, false, null)];
  }
  const cuts = new Set([0, text.length]);
  for (const range of [...spans, ...links, ...tricks, ...hits]) {
    cuts.add(range.start).add(range.end);
  }
  const edges = [...cuts].filter((at) => at <= text.length).sort((a, b) => a - b);
  const within = <R extends Range>(ranges: readonly R[]) => walker(ranges);
  const [span, link, trick, hit] = [within(spans), within(links), within(tricks), within(hits)];
  const pieces: Piece[] = [];
  for (let at = 0; at + 1 < edges.length; at++) {
    const [start, end] = [edges[at], edges[at + 1]];
    const style = span(start)?.style ?? PLAIN;
    pieces.push(piece(
      text,
      start,
      end,
      style,
      style.link ?? link(start)?.target ?? null,
      hit(start) !== undefined,
      trick(start)?.name ?? null,
    ));
  }
  return pieces;
}

/** Tells whether a text without styles and hits is one piece, without links and tricks. */
export function isOnePiece(text: string): boolean {
  return !text.includes("://") && text.search(TRICKS) === -1;
}

function piece(
  text: string,
  start: number,
  end: number,
  style: Style,
  link: string | null,
  hit: boolean,
  mark: string | null,
): Piece {
  return { start, end, text: text.slice(start, end), style, link, hit, mark };
}

/** Finds the range around positions that are asked for in order. */
function walker<R extends Range>(ranges: readonly R[]): (at: number) => R | undefined {
  let next = 0;
  return (at) => {
    while (next < ranges.length && ranges[next].end <= at) next++;
    return next < ranges.length && ranges[next].start <= at ? ranges[next] : undefined;
  };
}

function addressesIn(text: string): (Range & { target: string })[] {
  if (!/https?:\/\//i.test(text)) return [];
  return [...text.matchAll(ADDRESS)].flatMap((match) => {
    const target = withoutTail(match[0]);
    if (!isWebAddress(target)) return [];
    return [{ start: match.index, end: match.index + target.length, target }];
  });
}

/** Punctuation behind an address belongs to the sentence, a bracket to it only if it was opened within. */
function withoutTail(address: string): string {
  let end = address.length;
  for (; end > 0; end--) {
    const last = address[end - 1];
    const open = { ")": "(", "]": "[", "}": "{" }[last];
    if (open !== undefined) {
      const kept = address.slice(0, end);
      if (kept.split(open).length >= kept.split(last).length) break;
    } else if (!".,;:!?*".includes(last)) break;
  }
  return address.slice(0, end);
}

/** A name, or what somebody said, with the characters that must not act by name. */
export function plainly(text: string): string {
  let plain = "", at = 0;
  for (const { start, end, name } of tricksIn(text)) {
    plain += text.slice(at, start) + name;
    at = end;
  }
  return plain + text.slice(at);
}

function tricksIn(text: string): (Range & { name: string })[] {
  const found: (Range & { name: string })[] = [];
  for (const { 0: character, index } of text.matchAll(TRICKS)) {
    if (isJoiner(character) && joins(text, index)) continue;
    found.push({ start: index, end: index + character.length, name: nameOf(character) });
  }
  return found;
}

function isJoiner(character: string): boolean {
  return character === "\u200c" || character === "\u200d";
}

/** Emoji and several scripts are written with joiners; between other letters they only hide. */
function joins(text: string, at: number): boolean {
  const before = String.fromCodePoint(text.slice(0, at).match(/.$/u)?.[0].codePointAt(0) ?? 32);
  const after = String.fromCodePoint(text.codePointAt(at + 1) ?? 32);
  const joining =
    /[\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Syriac}\p{Script=Mongolian}\p{Extended_Pictographic}\u{1f3fb}-\u{1f3ff}\ufe0f]/u;
  return joining.test(before) && joining.test(after);
}

/** The picture of a control character, or the number of another. */
function nameOf(character: string): string {
  const code = character.codePointAt(0)!;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  if (code === 0xfffd) return "\ufffd";
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}
