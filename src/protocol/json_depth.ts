/**
 * Nesting of a JSON text, counted without parsing it: a parser may overflow its stack first.
 * @module
 */
/** Levels of objects and arrays in a text that may be JSON. */
export function jsonDepth(text: string): number {
  let depth = 0, deepest = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') at = endOfString(text, at);
    else if (char === "{" || char === "[") deepest = Math.max(deepest, ++depth);
    else if (char === "}" || char === "]") depth--;
  }
  return deepest;
}

/** Position of the quotation mark that ends a JSON string; the end of the text where none does. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1;; at++) {
    at = text.indexOf('"', at);
    if (at === -1) return text.length;
    let backslashes = 0;
    while (text[at - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}
