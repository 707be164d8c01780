/** One upload of a crash run: its content, what everybody was told of it, and what must be true of it. */
import { Buffer } from "node:buffer";
import { xxhash128 } from "hash-wasm";
import {
  type Digest,
  isFinal,
  parseReference,
  type ResourceMetadata,
  type ResourceStatus,
} from "../../src/protocol.ts";
import { lineBreaksOf } from "../../tests/helpers/bytes.ts";
import type { Chance } from "../../tests/helpers/random.ts";

/** A status as the HTTP interface shows it; connections leave the digest out. */
export type ToldStatus = ResourceStatus & { digest?: Digest | null };

/** What a status may not fall below, taken before it was asked for. */
export interface Floor {
  size: number;
  epoch: number;
  sequence: number;
  isCompleted: boolean;
}

/** Before anything was told. */
export const GROUND: Floor = { size: 0, epoch: 0, sequence: 0, isCompleted: false };

export class Subject {
  readonly metadata: ResourceMetadata;
  reference = "";
  /** Whether the pusher has said that there is no more. */
  finished = false;
  readonly #lineBreaks: Uint32Array;
  readonly #digest: Promise<string>;
  #floor = GROUND;
  /** Since when it waits for its pusher to be back, and the epoch before that. */
  #lost: { atMs: number; epoch: number } | null = null;

  constructor(readonly name: string, readonly content: Uint8Array, isText: boolean) {
    this.metadata = {
      filename: name,
      mimeType: isText ? "text/plain" : "application/octet-stream",
      supportsLineAccess: isText,
    };
    this.#lineBreaks = Uint32Array.from(isText ? lineBreaksOf(content) : []);
    this.#digest = xxhash128(content);
  }

  /** An upload of lines or of random bytes. */
  static make(name: string, byteCount: number, chance: Chance): Subject {
    const isText = chance.happens(0.5);
    const content = isText ? textOf(name, byteCount, chance) : bytesOf(byteCount, chance);
    return new Subject(name, content, isText);
  }

  get id(): string {
    return parseReference(this.reference).id;
  }

  get floor(): Floor {
    return this.#floor;
  }

  /** The connection of the pusher broke now. */
  lose(): void {
    if (this.reference !== "") this.#lost ??= { atMs: performance.now(), epoch: this.#floor.epoch };
  }

  /** How long the pusher was away, in ms, if it is back only now. */
  returned(epoch: number): number | null {
    if (this.#lost === null || epoch <= this.#lost.epoch) return null;
    const awayMs = performance.now() - this.#lost.atMs;
    this.#lost = null;
    return awayMs;
  }

  /** What is wrong with a status; it is a promise for all later ones. */
  async check(status: ToldStatus, floor: Floor): Promise<string[]> {
    const wrong: string[] = [];
    const expect = (isTrue: boolean, what: string) => {
      if (!isTrue) wrong.push(`${what}: ${JSON.stringify(status)}`);
    };
    const { transferStatus, currentSize, durableSize, epoch, sequence } = status;
    const { length } = this.content;
    expect(transferStatus !== "FAILED", "it failed");
    expect(currentSize >= floor.size, `${floor.size} bytes were acknowledged before`);
    expect(currentSize <= length, `only ${length} bytes exist`);
    expect(durableSize >= 0 && durableSize <= currentSize, "its durable size cannot be");
    expect(
      epoch > floor.epoch || epoch === floor.epoch && sequence >= floor.sequence,
      `it is older than ${floor.epoch}.${floor.sequence}`,
    );
    expect(
      status.numberOfLines === this.#lines(currentSize, isFinal(transferStatus)),
      `it has ${this.#lines(currentSize, isFinal(transferStatus))} lines`,
    );
    expect(transferStatus !== "INITIATED" || currentSize === 0, "it has bytes");
    if (transferStatus === "COMPLETED") {
      expect(this.finished, "the pusher has not finished");
      expect(currentSize === length && durableSize === length, `${length} bytes were pushed`);
      const value = await this.#digest;
      expect(status.digest === undefined || status.digest?.value === value, `digest ${value}`);
    } else expect(!floor.isCompleted, "it was completed before");
    if (wrong.length === 0) this.#raise(status);
    return wrong;
  }

  /** What is wrong with bytes that were served. */
  checkBytes(byteOffset: number, bytes: Uint8Array): string[] {
    const expected = this.content.subarray(byteOffset, byteOffset + bytes.length);
    if (Buffer.compare(bytes, expected) === 0) return [];
    const at = expected.findIndex((byte, index) => byte !== bytes[index]);
    return [`byte ${byteOffset + at} is ${bytes[at]}, not ${expected[at]}`];
  }

  #raise({ transferStatus, currentSize, epoch, sequence }: ResourceStatus): void {
    const before = this.#floor;
    const isNewer = epoch > before.epoch ||
      epoch === before.epoch && sequence > before.sequence;
    this.#floor = {
      size: Math.max(before.size, currentSize),
      epoch: isNewer ? epoch : before.epoch,
      sequence: isNewer ? sequence : before.sequence,
      isCompleted: before.isCompleted || transferStatus === "COMPLETED",
    };
  }

  #lines(size: number, isOver: boolean): number | null {
    if (!this.metadata.supportsLineAccess) return null;
    let low = 0, high = this.#lineBreaks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#lineBreaks[middle] < size) low = middle + 1;
      else high = middle;
    }
    return low + (isOver && size > 0 && this.content[size - 1] !== 10 ? 1 : 0);
  }
}

/** Lines that belong to no other upload, the last one without its end. */
function textOf(name: string, byteCount: number, chance: Chance): Uint8Array {
  const filler = "a line of some length ".repeat(20);
  const lines: string[] = [];
  for (let bytes = 0; bytes < byteCount;) {
    const line = `${name} ${lines.length} ${filler.slice(0, chance.whole(0, 200))}\n`;
    lines.push(line);
    bytes += line.length;
  }
  return new TextEncoder().encode(lines.join("").slice(0, byteCount));
}

function bytesOf(byteCount: number, chance: Chance): Uint8Array {
  const words = Uint32Array.from(
    { length: Math.ceil(byteCount / 4) },
    () => chance.whole(0, 2 ** 32 - 1),
  );
  return new Uint8Array(words.buffer, 0, byteCount);
}
