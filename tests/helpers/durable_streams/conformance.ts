/** The published conformance suite of Durable Streams, run by vitest on Node. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { temporaryDirectory } from "../temporary.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** What became of the tests of the suite. */
export interface Conformance {
  passed: number;
  /** Names of those that failed, with what they said. */
  failed: string[];
  /** Names of those that are not run. */
  skipped: string[];
}

interface Report {
  testResults: {
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
}

/**
 * Runs the suite.
 * @param url Where streams are.
 * @param pattern Only tests whose names match; all by default.
 */
export async function runSuite(url: string, pattern = ""): Promise<Conformance> {
  await using directory = await temporaryDirectory();
  const report = join(directory.path, "report.json");
  const config = join(root, "tests/helpers/durable_streams/vitest.config.ts");
  const args = [
    ...[join(root, "node_modules/vitest/vitest.mjs"), "run", "--root", root, "--config", config],
    ...["--reporter=json", `--outputFile=${report}`],
    ...(pattern === "" ? [] : ["-t", pattern]),
  ];
  const env = { ...process.env, CONFORMANCE_URL: url };
  const output = await new Promise<string>((resolve) =>
    execFile("node", args, { env }, (_, stdout, stderr) => resolve(stdout + stderr))
  );
  const { testResults } = JSON.parse(
    await readFile(report, "utf8").catch(() => Promise.reject(new Error(output))),
  ) as Report;
  const all = testResults.flatMap(({ assertionResults }) => assertionResults);
  const named = (wanted: string) =>
    all.filter(({ status }) => status === wanted)
      .map(({ fullName, failureMessages: [message = ""] }) => `${fullName} ${message}`.trim());
  return {
    passed: named("passed").length,
    failed: named("failed"),
    skipped: all.filter(({ status }) => status !== "passed" && status !== "failed")
      .map(({ fullName }) => fullName),
  };
}
