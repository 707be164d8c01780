/** Kills the server at random moments while it takes uploads. */
import { setTimeout as sleep } from "node:timers/promises";
import { push, type PushedUpload } from "../../../src/client.ts";
import { within, Workspace } from "../../../tests/helpers/cli.ts";
import { Chance } from "../../../tests/helpers/random.ts";
import { type CrashOptions, type CrashResult, CrashRun, RETRY_FOR_MS, whenever } from "./run.ts";
import { CrashingServer } from "./program.ts";
import { GROUND, Subject } from "../subject.ts";

/** Who looks at the statuses. */
const WATCHERS = 2;
/** So many kills come before the server listens. */
const EARLY_KILLS = 1 / 8;
const EARLY_MS = 300;
const BYTES_PER_SECOND = { least: 20e3, most: 2e6 };
const LONGEST_PAUSE_MS = 40;

/** Kills the server again and again; all uploads have ended on return. */
export async function crashServer(options: CrashOptions): Promise<CrashResult> {
  await using workspace = await Workspace.open();
  const { kind, durability } = options;
  const server = await CrashingServer.start(workspace, kind, ["--durability", durability]);
  const run = new CrashRun(options, server.url);
  const killing = { isOver: false };
  const lanes = Array.from({ length: options.uploads }, (_, lane) => upload(run, lane, killing));
  const watchers = Array.from({ length: WATCHERS }, () => run.watch());
  await kill(run, server);
  killing.isOver = true;
  await Promise.all(lanes);
  await run.finish(workspace);
  await Promise.all(watchers);
  await server.stop();
  run.result.kills = server.kills;
  run.result.restartsMs = server.restartsMs;
  return run.result;
}

async function kill(run: CrashRun, server: CrashingServer): Promise<void> {
  const { options, chance, live } = run;
  await run.begun();
  while (server.kills < options.kills) {
    if (chance.happens(EARLY_KILLS)) await sleep(chance.whole(0, EARLY_MS));
    else {
      await server.listening();
      await sleep(chance.whole(0, options.aliveMs));
    }
    for (const subject of live) subject.lose();
    await server.crash();
  }
  await server.listening();
}

/** One upload after the other, as long as the server is killed. */
async function upload(run: CrashRun, lane: number, killing: { isOver: boolean }): Promise<void> {
  const chance = new Chance(run.chance.whole(0, 2 ** 32 - 1));
  for (let count = 0; !killing.isOver; count++) {
    const { least, most } = BYTES_PER_SECOND;
    const bytesPerSecond = least * (most / least) ** chance.next();
    const byteCount = chance.whole(0, bytesPerSecond * run.options.uploadMs / 1000);
    const subject = Subject.make(`upload-${lane}-${count}`, byteCount, chance);
    try {
      const late = () => new Error("it did not end in time");
      const longestMs = run.options.uploadMs + 2 * RETRY_FOR_MS;
      await within(longestMs, uploadOne(run, subject, chance, bytesPerSecond), late);
    } catch (error) {
      run.live.delete(subject);
      run.blame(subject, [`${error}`]);
    }
  }
}

async function uploadOne(
  run: CrashRun,
  subject: Subject,
  chance: Chance,
  bytesPerSecond: number,
): Promise<void> {
  const upload = await whenever(() =>
    push(run.url, subject.metadata, { retryForMs: RETRY_FOR_MS })
  );
  subject.reference = upload.reference;
  run.begins(subject);
  const [{ size, digest }] = await Promise.all([
    upload.done,
    write(upload, subject, chance, bytesPerSecond),
    hear(run, upload, subject),
    run.follow(subject),
  ]);
  run.returned(subject, Infinity);
  if (size !== subject.content.length) run.blame(subject, [`${size} bytes were acknowledged`]);
  run.ended(subject, digest.value);
}

/** Writes pieces of any length with pauses of any length between them. */
async function write(
  upload: PushedUpload,
  subject: Subject,
  chance: Chance,
  bytesPerSecond: number,
): Promise<void> {
  const { content } = subject;
  const writer = upload.writable.getWriter();
  for (let at = 0; at < content.length;) {
    const pauseMs = chance.whole(0, LONGEST_PAUSE_MS);
    const byteCount = Math.ceil(bytesPerSecond * pauseMs / 1000);
    await writer.write(content.subarray(at, at + byteCount));
    at += byteCount;
    await sleep(pauseMs);
  }
  subject.finished = true;
  await writer.close();
}

/** Hears what the pusher is told. */
async function hear(run: CrashRun, upload: PushedUpload, subject: Subject): Promise<void> {
  let floor = GROUND;
  for await (const status of upload.statuses()) {
    // Before the first one there is only what the library made up.
    if (status.epoch === 0) continue;
    run.blame(subject, await subject.check(status, floor));
    const { currentSize: size, epoch, sequence } = status;
    floor = { size, epoch, sequence, isCompleted: false };
    run.returned(subject, epoch);
  }
}
