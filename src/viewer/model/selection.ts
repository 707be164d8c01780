/**
 * A selection of lines that need not be in the page, and the text that it copies.
 * @module
 */

/** A place in a log: between two characters of a line as it is shown. */
export interface Place {
  line: number;
  /** In UTF-16 units of the text shown. */
  character: number;
}

/** What is selected. */
export interface Selection {
  /** Where it began. */
  anchor: Place;
  /** Where it ends: before or behind its anchor. */
  focus: Place;
}

/** Which of two places comes first: negative, 0 or positive. */
export function compare(one: Place, other: Place): number {
  return one.line - other.line || one.character - other.character;
}

/** Both ends in the order of the log. */
export function ordered({ anchor, focus }: Selection): [first: Place, last: Place] {
  return compare(anchor, focus) <= 0 ? [anchor, focus] : [focus, anchor];
}

/**
 * The text of a selection, with empty lines, without numbers and escape codes.
 * @param selection What is selected.
 * @param textOf Text of a line as it is shown; null for one that is not shown.
 * @param joint What stands between two lines.
 */
export function textOfSelection(
  selection: Selection,
  textOf: (line: number) => string | null,
  joint = "\n",
): string {
  const [first, last] = ordered(selection);
  const parts: string[] = [];
  for (let line = first.line; line <= last.line; line++) {
    const text = textOf(line);
    if (text === null) continue;
    const start = line === first.line ? first.character : 0;
    const end = line === last.line ? last.character : text.length;
    parts.push(text.slice(start, end));
  }
  return parts.join(joint);
}
