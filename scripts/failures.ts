/** The end of CI's output is all that a later reader may see of it: so many characters tell of failures there. */
const toldCharacters = 6_000;
const messageCharacters = 240;

/** A line for each failed test of a JUnit report: its name, what it said, and where. */
export function failuresIn(report: string): string[] {
  const failed =
    /<testcase name="([^"]*)"([^>]*)>\s*<(?:failure|error)\b[^>]*?message="([^"]*)"[^>]*>([^<]*)/g;
  return [...report.matchAll(failed)]
    .filter(([, , , message]) => !/^\d+ test steps? failed$/.test(message))
    .map(([, name, attributes, message, stack]) => {
      const place = `${stack} ${attributes}`.match(/tests\/[\w/]+\.ts(:\d+)?/)?.[0] ?? "";
      return `${text(name)} (${place}): ${text(message).slice(0, messageCharacters)}`;
    });
}

/** As many of the lines as fit, and how many did not. */
export function shortened(lines: string[]): string[] {
  const each = Math.max(80, Math.floor(toldCharacters / Math.max(1, lines.length)));
  const told = lines.slice(0, toldCharacters / 80).map((line) => line.slice(0, each));
  return told.length === lines.length ? told : [...told, `and ${lines.length - told.length} more`];
}

/** What stands in an attribute, on one line and without colours. */
function text(attribute: string): string {
  const names: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return attribute
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => names[name])
    // deno-lint-ignore no-control-regex
    .replace(/\x1b\[[\d;]*m/g, "")
    .replace(/\s+/g, " ");
}
