/** Every step of an upload fails once, fails for good, or is the machine's last one. */
import { connect, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { follow, getResource, open as openDownload, push, type ResourceInfo } from "../../mod.ts";
import { isFinal, type ResourceStatus, StreamError } from "../../src/protocol.ts";
import { Resources, type ResourceView } from "../../src/resources.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import type { Durability } from "../../src/resources/writing/owned_log.ts";
import { concat, lineBreaksOf, linesOf, utf8 } from "../helpers/bytes.ts";
import { assertBytes, within } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import {
  FaultyMachine,
  type Survival,
  type Survivors,
  type Trouble,
} from "../helpers/faults/faulty_storage.ts";
import { limitedServer } from "../helpers/faults/limited_server.ts";
import { Chance, withChance } from "../helpers/random.ts";
import { checksumOf, readAll, registration } from "../helpers/resources.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const PARTS = ["first line\nsecond", " line\n\nfourth ", "line\nlast one"].map(utf8);
const WHOLE = concat(PARTS);
const MOST_TURNS = 20_000;
const MOST_RESUMPTIONS = 3;

/** What the owner and a reader of one upload were told before the machine stopped. */
class Witness {
  id = "";
  secret = "";
  acknowledged = 0;
  shown = 0;
  durable = 0;
  completed = false;
  /** How it ended, if it did not complete. */
  error: StreamError | null = null;
  readonly statuses: ResourceStatus[] = [];

  constructor(readonly machine: FaultyMachine) {}

  watch(appender: Appender): void {
    this.id = appender.resource.id;
    appender.resource.watch((status) => {
      if (this.machine.stopped) return;
      this.statuses.push(status);
      this.shown = Math.max(this.shown, status.currentSize);
      this.durable = Math.max(this.durable, status.durableSize);
    });
    this.listen(appender);
  }

  listen(appender: Appender): void {
    const acknowledged = (byteOffset: number) => {
      if (!this.machine.stopped) this.acknowledged = Math.max(this.acknowledged, byteOffset);
    };
    appender.listen({ acknowledged, failed: () => {} });
  }

  /** The status that ended it, if one was told. */
  get end(): ResourceStatus | undefined {
    return this.statuses.find(({ transferStatus }) => isFinal(transferStatus));
  }
}

async function until(happened: () => boolean): Promise<void> {
  for (let turns = 0; !happened(); turns++) {
    if (turns === MOST_TURNS) throw new Error("waited in vain");
    await turn();
  }
}

/** Appends a part and waits until it can be read, or never will be. */
async function append(appender: Appender, part: Uint8Array): Promise<void> {
  const { resource } = appender;
  const size = resource.status.currentSize + part.length;
  appender.append(part);
  await until(() => resource.status.currentSize >= size || isFinal(resource.status.transferStatus));
}

/** An upload as its owner goes through it; its connection breaks before the last part. */
async function upload(resources: Resources, witness: Witness): Promise<void> {
  const first = await resources.register(registration({ ownedBy: "SECRET" }));
  witness.secret = first.secret!;
  witness.watch(first.appender);
  await append(first.appender, PARTS[0]);
  await append(first.appender, PARTS[1]);
  await resources.interrupt(first.appender, new StreamError("INTERRUPTED", "it broke"));
  await finish(resources, witness);
}

/** Goes on with an upload, whatever there is of it. */
async function finish(resources: Resources, witness: Witness): Promise<void> {
  const appender = await resume(resources, witness);
  await append(appender, WHOLE.slice(appender.received));
  await appender.complete(await checksumOf(WHOLE), WHOLE.length);
  witness.completed = !witness.machine.stopped;
}

/** An owner tries again when the server's disk refused. */
async function resume(resources: Resources, witness: Witness): Promise<Appender> {
  for (let attempts = 1;; attempts++) {
    try {
      const resumed = await resources.resume(witness.id, witness.secret);
      assert("appender" in resumed, "it was completed already");
      witness.listen(resumed.appender);
      return resumed.appender;
    } catch (error) {
      const { code } = error as StreamError;
      const isRefused = code === "STORAGE_FAILED" || code === "NOT_READY";
      if (!isRefused || attempts === MOST_RESUMPTIONS) throw error;
    }
  }
}

/** A run of the whole story. */
interface Run {
  machine: FaultyMachine;
  resources: Resources;
  subject: Witness;
  bystander: Witness;
}

/** An upload that meets trouble, and another one at the same time that should not notice. */
async function run(machine: FaultyMachine, durability: Durability): Promise<Run> {
  const resources = open(machine, durability);
  const subject = new Witness(machine), bystander = new Witness(machine);
  const other = await resources.register(registration({ ownedBy: "SECRET" }));
  bystander.secret = other.secret!;
  bystander.watch(other.appender);
  await append(other.appender, PARTS[0]);
  machine.arm();
  const story = upload(resources, subject).catch((error) => subject.error = error);
  await append(other.appender, WHOLE.slice(PARTS[0].length));
  await story;
  machine.heal();
  await other.appender.complete(await checksumOf(WHOLE)).then(
    () => bystander.completed = !machine.stopped,
    (error) => bystander.error = error,
  );
  return { machine, resources, subject, bystander };
}

function open({ storage, catalog }: FaultyMachine, durability: Durability): Resources {
  return new Resources({ storage, catalog, durability, checkpointIntervalMs: 0 });
}

/** What is shown of a resource is what can be read of it, and right. */
async function assertTrue(resources: Resources, id: string): Promise<ResourceView> {
  const view = await resources.get(id);
  const { currentSize, numberOfLines, transferStatus, failure } = view.status;
  await using opened = await resources.open(id);
  const { resource } = opened;
  const bytes = await readAll(resource);
  await opened.release();
  // An end that was refused may be recorded meanwhile, with acknowledged bytes that could not be counted before.
  const after = (await resources.get(id)).status;
  if (transferStatus === "FAILED" && after.currentSize > currentSize) {
    return assertTrue(resources, id);
  }
  assertBytes(bytes, WHOLE.slice(0, currentSize));
  const lines = isFinal(transferStatus) ? linesOf(bytes) : lineBreaksOf(bytes).length;
  assertEquals(numberOfLines, lines);
  assertEquals(failure !== null, transferStatus === "FAILED");
  if (transferStatus === "COMPLETED") {
    assertEquals(currentSize, WHOLE.length);
    assertEquals(view.digest?.value, await checksumOf(WHOLE));
  }
  return view;
}

/** The process that lived through the trouble tells the truth. */
async function assertAlive({ resources, subject, bystander }: Run): Promise<void> {
  assertEquals([bystander.completed, bystander.error], [true, null]);
  await assertTrue(resources, bystander.id);
  if (!subject.completed) {
    assertMatch(subject.error!.code, /^(STORAGE_FAILED|WRONG_STATE|NOT_READY)$/);
  }
  if (subject.id === "") return;
  const { status } = await assertTrue(resources, subject.id);
  // Where the disk refuses even the index, what was written and not yet shown is given up.
  const least = isFinal(status.transferStatus) ? subject.shown : subject.acknowledged;
  assert(status.currentSize >= least, `${status.currentSize} of ${least} are there`);
  if (subject.completed) assertEquals(status.transferStatus, "COMPLETED");
  else if (status.transferStatus === "FAILED") assertMatch(status.failure!, /^STORAGE_FAILED: /);
  const { end, statuses } = subject;
  assertEquals(end, isFinal(status.transferStatus) ? statuses.at(-1) : undefined);
  await assertCounted(resources);
}

/** The bytes that are counted are those that the records have. */
async function assertCounted(resources: Resources): Promise<void> {
  let sum = 0;
  // The moment in which a refused end is recorded is over soon.
  for (let looks = 0; looks < 10; looks++) {
    const records = await resources.list({ limit: 10 });
    sum = records.reduce((sum, { status }) => sum + status.currentSize, 0);
    if (resources.totalBytes === sum) return;
    await turn();
  }
  assertEquals(resources.totalBytes, sum, "bytes in all");
}

/** A machine that is started on what survived keeps the promises, and uploads can be finished. */
async function assertSurvives(
  { machine, subject, bystander }: Run,
  durability: Durability,
  survival: Survival,
  chance: Chance,
): Promise<void> {
  const later = new FaultyMachine(Infinity, "once", chance, await machine.survivors(survival));
  const resources = open(later, durability);
  await resources.recover();
  for (const witness of [subject, bystander]) {
    if (witness.id === "") continue;
    const isPromised = survival === "written" || durability === "disk";
    const least = Math.max(isPromised ? witness.acknowledged : 0, witness.durable);
    await assertPromises(resources, witness, least, survival);
  }
  await assertCounted(resources);
  await resources.close();
}

async function assertPromises(
  resources: Resources,
  witness: Witness,
  least: number,
  survival: Survival,
): Promise<void> {
  const found = await resources.get(witness.id).catch(() => null);
  if (found === null) {
    assertEquals([witness.completed, least], [false, 0], "the record is gone");
    return;
  }
  assert(found.status.currentSize >= least, `${found.status.currentSize} of ${least} are there`);
  // Of an upload that did not end, a disk kept what it was told to keep; the rest its uploader has to prove.
  if (survival === "zeroed" && !isFinal(found.status.transferStatus)) {
    await finishOrFail(resources, witness);
  }
  const { transferStatus } = (await resources.get(witness.id)).status;
  if (survival !== "written" && transferStatus === "FAILED") {
    // A disk that refused a flush may have lost what came after the last one.
    await using opened = await resources.open(witness.id);
    const { resource } = opened;
    if (least > 0) assertBytes(await resource.read(0, least), WHOLE.slice(0, least));
    return;
  }
  const { status } = await assertTrue(resources, witness.id);
  if (witness.completed) assertEquals(status.transferStatus, "COMPLETED");
  // What the catalog never took cannot be remembered by another process.
  const isRecorded = survival === "written" && witness.machine.trouble !== "always";
  if (witness.end !== undefined && isRecorded) {
    assertEquals(status.transferStatus, witness.end.transferStatus, "the end was not final");
  }
  if (isFinal(status.transferStatus)) return;
  const { id, secret, machine } = witness;
  await finish(resources, Object.assign(new Witness(machine), { id, secret }));
  await assertTrue(resources, id);
}

/** Goes on with an upload whose log may have lost bytes: it fails, and says why, or is completed. */
async function finishOrFail(resources: Resources, witness: Witness): Promise<void> {
  const { id, secret, machine } = witness;
  try {
    await finish(resources, Object.assign(new Witness(machine), { id, secret }));
  } catch (error) {
    assertMatch((error as StreamError).code, /^(OFFSET_LOST|CHECKSUM_MISMATCH)$/);
  }
}

async function steps(durability: Durability, chance: Chance): Promise<number> {
  const { machine, subject, resources } = await run(
    new FaultyMachine(Infinity, "once", chance),
    durability,
  );
  assert(subject.completed, "it fails without any trouble");
  await resources.close();
  return machine.steps;
}

/** Says at which step a check failed. */
async function at(machine: FaultyMachine, step: number, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    const message = `step ${step}, ${machine.met}: ${(error as Error).message}`;
    throw new Error(message, { cause: error });
  }
}

/** Two uploads that the end of their server's process left unfinished. */
async function unfinished(chance: Chance): Promise<{ left: Survivors; witnesses: Witness[] }> {
  const machine = new FaultyMachine(Infinity, "once", chance);
  const resources = open(machine, "os");
  const witnesses = [new Witness(machine), new Witness(machine)];
  for (const witness of witnesses) {
    const { appender, secret } = await resources.register(registration({ ownedBy: "SECRET" }));
    witness.secret = secret!;
    witness.watch(appender);
    await append(appender, PARTS[0]);
    await append(appender, PARTS[1]);
  }
  const left = await machine.survivors("written");
  await resources.close();
  return { left, witnesses };
}

/** Recovers with trouble at a step of one upload, and finishes both when it is over. */
async function recoverWith(step: number, trouble: Trouble, chance: Chance): Promise<FaultyMachine> {
  const { left, witnesses } = await unfinished(chance);
  const [subject, bystander] = witnesses;
  const machine = new FaultyMachine(step, trouble, chance, left);
  machine.arm(subject.id);
  const resources = open(machine, "os");
  await resources.recover();
  machine.heal();
  for (const witness of [subject, bystander]) {
    await finish(resources, witness);
    const { status } = await assertTrue(resources, witness.id);
    assertEquals(status.transferStatus, "COMPLETED");
  }
  await assertCounted(resources);
  await resources.close();
  return machine;
}

test("an upload whose recovery meets trouble can be finished when that is over, and so can all others", () =>
  withChance(async (chance) => {
    const { steps } = await recoverWith(Infinity, "once", chance);
    assert(steps > 0, "recovery takes no steps");
    for (const trouble of ["once", "always"] as const) {
      for (let step = 1; step <= steps; step++) {
        const what = `${trouble} from step ${step}`;
        await recoverWith(step, trouble, chance).catch((error) => {
          throw new Error(`${what}: ${error.message}`, { cause: error });
        });
      }
    }
  }));

for (const durability of ["os", "disk"] as const) {
  for (const trouble of ["once", "always"] as const) {
    test(`durability ${durability}: when a step fails ${trouble}, all that is said is true`, () =>
      withChance(async (chance) => {
        const count = await steps(durability, chance);
        for (let step = 1; step <= count; step++) {
          const machine = new FaultyMachine(step, trouble, chance);
          const story = await run(machine, durability);
          await at(machine, step, async () => {
            await assertAlive(story);
            await assertSurvives(story, durability, "written", chance);
            await assertSurvives(story, durability, "flushed", chance);
            await assertSurvives(story, durability, "zeroed", chance);
          });
          await story.resources.close();
        }
      }));
  }

  for (const survival of ["written", "flushed", "zeroed"] as const) {
    test(`durability ${durability}: a machine that stops at any step and keeps what was ${survival} keeps its promise`, () =>
      withChance(async (chance) => {
        const count = await steps(durability, chance);
        for (let step = 1; step <= 2 * count; step++) {
          const machine = new FaultyMachine(Math.ceil(step / 2), "stop", chance);
          const story = await run(machine, durability);
          await at(
            machine,
            Math.ceil(step / 2),
            () => assertSurvives(story, durability, survival, chance),
          );
          await story.resources.close();
        }
      }));
  }
}

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

function received(reference: string): Promise<Uint8Array> {
  return within("the end of a follower", new Response(follow(reference)).bytes());
}

const MIB = 1024 * 1024;
/** Whose data is too large for a file of 2 MiB, and whose index is. */
const tooLarge = {
  data: () => new Chance(1).text(4 * MIB),
  index: () => new Uint8Array(600_000).fill(10),
};

for (const [file, source] of Object.entries(tooLarge)) {
  test(`an upload whose ${file} a disk refuses is FAILED with all that can be read, others go on`, async () => {
    await using directory = await temporaryDirectory();
    const bytes = source();
    const small = new Chance(2).text(100_000);
    let failed: ResourceInfo;
    {
      await using server = await limitedServer(directory.path, { fileBytes: 2 * MIB });
      const beside = await push(server.url, metadata);
      const beyond = await push(server.url, metadata, { retryForMs: 0 });
      const following = received(beyond.reference);
      await new Blob([bytes as BlobPart]).stream().pipeTo(beyond.writable).catch(() => {});
      await assertFails("STORAGE_FAILED", () => within("the refusal", beyond.done));
      const shown = await following;
      failed = await getResource(beyond.reference);
      assertEquals(failed.transferStatus, "FAILED");
      assertMatch(failed.failure!, /^STORAGE_FAILED: /);
      assert(failed.currentSize > 0, "nothing is left");
      const left = bytes.slice(0, failed.currentSize);
      assertBytes(shown, left);
      assertEquals(failed.numberOfLines, linesOf(left));
      await new Blob([small as BlobPart]).stream().pipeTo(beside.writable);
      assertBytes(await received(beside.reference), small);
    }
    await using server = await limitedServer(directory.path);
    const again = await getResource(failed.id, { server: server.url });
    // What was acknowledged and could not be counted keeps the record from an end that leaves it out.
    if (again.transferStatus === "IN_PROGRESS") {
      assertEquals(file, "index");
      assertGreater(again.currentSize, failed.currentSize);
    } else {
      assertEquals(again, { ...failed, reference: again.reference, view: again.view });
    }
    const download = await openDownload(again.reference);
    const all = new Response(download.read({ to: again.currentSize })).bytes();
    assertBytes(await within("what is left", all), bytes.slice(0, again.currentSize));
    download.close();
  });
}

test("a server whose last file descriptor is taken serves those it has, and all when there are more", async () => {
  await using directory = await temporaryDirectory();
  await using server = await limitedServer(directory.path, { descriptors: 100 });
  const upload = await push(server.url, metadata);
  const download = await openDownload(upload.reference);
  const reader = download.read().pipeThrough(new TextDecoderStream()).getReader();
  const writer = upload.writable.getWriter();
  await writer.write(utf8("before\n"));
  assertEquals((await within("bytes", reader.read())).value, "before\n");
  const idle = await connections(server.url, 200);
  await writer.write(utf8("meanwhile\n"));
  assertEquals((await within("bytes", reader.read())).value, "meanwhile\n");
  for (const socket of idle) socket.destroy();
  await within("a place", untilUploaded(server.url, "after\n"));
  await writer.close();
  assertEquals((await upload.done).size, 17);
  download.close();
});

/** Opens connections and says nothing on them. */
async function connections(url: string, count: number): Promise<Socket[]> {
  const { hostname, port } = new URL(url);
  const sockets = Array.from({ length: count }, () => connect(Number(port), hostname));
  await Promise.all(sockets.map((socket) =>
    new Promise<void>((resolve) => {
      socket.on("error", () => resolve()).on("connect", () => resolve());
    })
  ));
  return sockets;
}

/** Uploads a text as soon as there are descriptors for it. */
async function untilUploaded(url: string, text: string): Promise<void> {
  for (;;) {
    try {
      const upload = await push(url, metadata);
      return await new Blob([text]).stream().pipeTo(upload.writable);
    } catch (error) {
      assertMatch((error as StreamError).code, /^(UNREACHABLE|STORAGE_FAILED)$/);
    }
  }
}
