/** Kills `stream push FILE` at random moments and goes on with `--resume`. */
import { appendFile, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { getResource } from "../../../src/client.ts";
import { type Program, within, Workspace } from "../../../tests/helpers/cli.ts";
import { Chance } from "../../../tests/helpers/random.ts";
import { type CrashOptions, type CrashResult, CrashRun, RETRY_FOR_MS } from "./run.ts";
import { CrashingServer } from "./program.ts";
import { Subject } from "../subject.ts";

/** Processes at once: more would only wait for each other. */
const MAX_PUSHERS = 4;
/** So many kills come while the pusher is still starting. */
const EARLY_KILLS = 1 / 4;
const EARLY_MS = 400;
/** A file that is there as a whole is pushed in less time than this. */
const WHOLE_FILE_ALIVE_MS = 150;
const WHOLE_FILE_BYTES = { least: 1e6, most: 32e6 };
const GROWING_BYTES = { least: 0, most: 4e6 };
const GROW_EVERY_MS = 20;

/** One push, over as many processes as it takes. */
interface Push {
  run: CrashRun;
  workspace: Workspace;
  subject: Subject;
  chance: Chance;
  isGrowing: boolean;
  /** The follower, once there is something to follow. */
  followed: Promise<void> | null;
}

/** Kills pushers again and again; all uploads have ended on return. */
export async function crashPushers(options: CrashOptions): Promise<CrashResult> {
  await using workspace = await Workspace.open();
  const { kind, durability } = options;
  const server = await CrashingServer.start(workspace, kind, ["--durability", durability]);
  const run = new CrashRun(options, server.url);
  const pushers = Math.min(options.uploads, MAX_PUSHERS);
  const lanes = Array.from({ length: pushers }, (_, lane) => pushFiles(run, workspace, lane));
  const watching = run.watch();
  await Promise.all(lanes);
  await run.finish(workspace);
  await watching;
  await server.stop();
  return run.result;
}

/** One file after the other, until there were enough kills. */
async function pushFiles(run: CrashRun, workspace: Workspace, lane: number): Promise<void> {
  const chance = new Chance(run.chance.whole(0, 2 ** 32 - 1));
  for (let count = 0; run.result.kills < run.options.kills; count++) {
    const isGrowing = chance.happens(0.5);
    const { least, most } = isGrowing ? GROWING_BYTES : WHOLE_FILE_BYTES;
    const subject = Subject.make(`file-${lane}-${count}`, chance.whole(least, most), chance);
    const push = { run, workspace, subject, chance, isGrowing, followed: null };
    try {
      const late = () => new Error("it did not end in time");
      await within(run.options.uploadMs + 2 * RETRY_FOR_MS, pushFile(push), late);
    } catch (error) {
      run.live.delete(subject);
      run.blame(subject, [`${error}`]);
    }
  }
}

async function pushFile(push: Push): Promise<void> {
  const { run, workspace, subject, isGrowing } = push;
  const path = workspace.path(subject.name);
  await writeFile(path, isGrowing ? "" : subject.content);
  subject.finished = !isGrowing;
  const written = isGrowing ? grow(push, path) : Promise.resolve();
  while (!await pushOnce(push));
  await Promise.all([written, push.followed]);
  const { digest } = await getResource(subject.reference);
  run.ended(subject, digest?.value ?? "");
  await rm(path);
}

async function grow({ run, subject }: Push, path: string): Promise<void> {
  const { content } = subject;
  const pieceBytes = Math.max(1, Math.ceil(content.length * GROW_EVERY_MS / run.options.uploadMs));
  for (let at = 0; at < content.length; at += pieceBytes) {
    await appendFile(path, content.subarray(at, at + pieceBytes));
    await sleep(GROW_EVERY_MS);
  }
  subject.finished = true;
  await writeFile(`${path}.done`, "");
}

/** One process, killed while there were not enough kills; true when the upload is over. */
async function pushOnce(push: Push): Promise<boolean> {
  const { run, subject } = push;
  const pusher = startPusher(push);
  // A pusher that was killed early has said nothing.
  const announced = pusher.stdout.until((text) => text.includes("\n"))
    .then((text) => announce(push, text.split("\n")[0]), () => {});
  if (run.result.kills < run.options.kills) {
    await momentToKill(push, announced);
    subject.lose();
    await pusher.kill("SIGKILL");
  }
  const { code, stderr } = await pusher.exit(RETRY_FOR_MS);
  await announced;
  if (code === 0) return true;
  if (code === null) run.result.kills++;
  // The pusher before may have been killed between its last word and its end.
  else if (await isCompleted(subject)) return true;
  else throw new Error(`a pusher ended with ${code}: ${stderr}`);
  return false;
}

function startPusher({ run, workspace, subject, isGrowing }: Push): Program {
  const { filename, mimeType, supportsLineAccess } = subject.metadata;
  const args = ["push", filename, "--server", run.url, "--type", mimeType];
  args.push(supportsLineAccess ? "--text" : "--binary");
  if (isGrowing) args.push("--follow", "--until-file", `${filename}.done`);
  if (subject.reference !== "") args.push("--resume", subject.reference);
  const env = { XDG_STATE_HOME: workspace.path("state") };
  return workspace.start(run.options.kind, args, { env });
}

/** A pusher has said where its upload can be followed. */
function announce(push: Push, reference: string): void {
  const { run, subject } = push;
  if (subject.reference === "") {
    subject.reference = reference;
    run.begins(subject);
    push.followed = run.follow(subject);
    // It is awaited when the upload is over.
    push.followed.catch(() => {});
  }
  run.returned(subject, Infinity);
}

async function momentToKill(push: Push, announced: Promise<void>): Promise<void> {
  const { run, chance, isGrowing } = push;
  if (chance.happens(EARLY_KILLS)) return await sleep(chance.whole(0, EARLY_MS));
  await announced;
  await sleep(chance.whole(0, isGrowing ? run.options.aliveMs : WHOLE_FILE_ALIVE_MS));
}

async function isCompleted({ reference }: Subject): Promise<boolean> {
  return reference !== "" && (await getResource(reference)).transferStatus === "COMPLETED";
}
