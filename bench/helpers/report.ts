/** What came of a run, as a table in Markdown and as JSON. */
import { type Goal, goalFor, GOALS, isReached } from "../goals.ts";
import { type Extent, type Findings, OTHERS, type Part, type Series } from "./bench.ts";
import { type Spread, spreadOf } from "./statistics.ts";

/** How a run was made. */
export interface Setting {
  startedAt: Date;
  seconds: number;
  extent: Extent;
  machine: string[];
  servers: string[];
  /** The checkout that was measured in turn with this one. */
  against?: string;
  parts: readonly Part[];
  /** Most that the clocks of clients were seen to differ from ours, in ms. */
  clockSkewMs: number;
}

/** A figure with its goal. */
interface Figure extends Omit<Series, "values">, Spread {
  values: number[];
  goal?: Goal;
  reached?: boolean;
}

/** The column of the other build of a program. */
export function otherColumn(server: string): string {
  return `${server}, other`;
}

/** Figures, goals and failures for programs. */
export function toJson(setting: Setting, findings: Findings): string {
  const { parts, ...rest } = setting;
  const figures = findings.series.map((series) => figureOf(series, setting.extent));
  const names = parts.map(({ name }) => name);
  return JSON.stringify({ ...rest, parts: names, figures, failures: findings.failures }, null, 2);
}

/** The same for people. */
export function toMarkdown(setting: Setting, findings: Findings): string {
  const { startedAt, seconds, extent, machine, clockSkewMs } = setting;
  const figures = findings.series.map((series) => figureOf(series, extent));
  const date = startedAt.toISOString().slice(0, 16).replace("T", " ");
  return [
    `# Figures of ${date} UTC`,
    `The ${extent} form of the bench, in ${
      Math.round(seconds / 60)
    } minutes. Each figure is the median of its ` +
    "repeats, with the least and the most in brackets. ✓ and ✗: the goal beside it was or was not reached.",
    machine.map((line) => `- ${line}`).join("\n"),
    `Clocks of clients differed by at most ${format(clockSkewMs)} ms from that of the harness.`,
    ...setting.parts.map((part) =>
      setting.against === undefined
        ? partTable(part, setting, figures)
        : ratioTable(part, setting, figures)
    ),
    setting.against === undefined ? goalSummary(setting, figures) : "",
    failureList(findings),
  ].join("\n\n") + "\n";
}

function figureOf(series: Series, extent: Extent): Figure {
  const { part, name, column } = series;
  const figure = { ...series, ...spreadOf(series.values) };
  // A smoke run says whether it works, not how fast.
  const goal = extent === "smoke" ? undefined : goalFor(part, name, column);
  return goal === undefined ? figure : { ...figure, goal, reached: isReached(goal, figure.median) };
}

function partTable(part: Part, { servers }: Setting, figures: Figure[]): string {
  const own = figures.filter((figure) => figure.part === part.name);
  const columns = [...servers, OTHERS].filter((column) =>
    own.some((figure) => figure.column === column)
  );
  const names = [...new Set(own.map(({ name }) => name))];
  const rows = names.map((name) => {
    const cells = columns.map((column) => {
      return cellOf(own.find((figure) => figure.name === name && figure.column === column));
    });
    const { unit } = own.find((figure) => figure.name === name)!;
    return `| ${name} | ${unit} | ${cells.join(" | ")} |`;
  });
  return [
    `## ${part.name}: ${part.title}\n`,
    `| figure | unit | ${columns.join(" | ")} |`,
    `| --- | --- | ${columns.map(() => "--:").join(" | ")} |`,
    ...rows,
  ].join("\n");
}

/** Two builds beside each other: their medians, and the ratio with those of the single rounds. */
function ratioTable(part: Part, { servers }: Setting, figures: Figure[]): string {
  const own = figures.filter((figure) => figure.part === part.name);
  const names = [...new Set(own.map(({ name }) => name))];
  const cellsOf = (name: string, server: string) => {
    const [here, there] = [server, otherColumn(server)].map((column) =>
      own.find((figure) => figure.name === name && figure.column === column)
    );
    if (here === undefined || there === undefined) return ["", "", ""];
    const ratios = here.values.slice(0, there.values.length)
      .map((value, index) => value / there.values[index]);
    const { min, max } = spreadOf(ratios);
    const ratio = `**${format(here.median / there.median)}** (${format(min)}–${format(max)})`;
    return [format(there.median), format(here.median), ratio];
  };
  const rows = names.map((name) => {
    const { unit } = own.find((figure) => figure.name === name)!;
    return `| ${name} | ${unit} | ${
      servers.flatMap((server) => cellsOf(name, server)).join(" | ")
    } |`;
  });
  const heads = servers.flatMap((server) => [otherColumn(server), server, "ratio"]);
  return [
    `## ${part.name}: ${part.title}\n`,
    `| figure | unit | ${heads.join(" | ")} |`,
    `| --- | --- | ${heads.map(() => "--:").join(" | ")} |`,
    ...rows,
  ].join("\n");
}

function cellOf(figure: Figure | undefined): string {
  if (figure === undefined) return "";
  const { median, min, max, repeats, goal, reached } = figure;
  const range = repeats > 1 ? ` (${format(min)}–${format(max)})` : "";
  const verdict = goal === undefined ? "" : ` ${reached ? "✓" : "✗"} ${boundOf(goal)}`;
  return `${format(median)}${range}${verdict}`;
}

function boundOf({ atLeast, atMost }: Goal): string {
  return atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`;
}

/** Goals that were reached, that were not, and those of which nothing is known. */
function goalSummary({ extent, parts, servers }: Setting, figures: Figure[]): string {
  if (extent === "smoke") return "";
  const judged = figures.filter(({ goal }) => goal !== undefined);
  const missed = judged.filter(({ reached }) => !reached);
  const measured = new Set(judged.map(({ part, name }) => `${part}: ${name}`));
  const wanted = GOALS.filter((goal) =>
    parts.some(({ name }) => name === goal.part) &&
    (goal.server === undefined || servers.includes(goal.server))
  ).map(({ part, figure }) => `${part}: ${figure}`);
  const unknown = [...new Set(wanted)].filter((name) => !measured.has(name));
  return [
    "## Goals\n",
    `${judged.length - missed.length} of ${judged.length} goals reached.`,
    ...missed.map((figure) =>
      `- not reached: ${figure.part}, ${figure.column}: ${figure.name}: ${cellOf(figure)}`
    ),
    ...unknown.map((name) => `- not measured: ${name}`),
  ].join("\n");
}

function failureList({ failures }: Findings): string {
  if (failures.length === 0) return "Nothing failed.";
  const rows = failures.map(({ part, column, what, message }) =>
    `- ${part}, ${column}: ${what}: ${message.replace(/\s+/g, " ")}`
  );
  return ["## Failed\n", ...rows].join("\n");
}

/** Three digits that mean something. */
function format(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}
