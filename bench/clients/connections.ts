/** Uploads and followers, the same from outside: by the library as people use it, or by the thin client. */
import { open, push } from "../../mod.ts";
import { DOWNLOAD_PATH, LIMITS, type ResourceMetadata, UPLOAD_PATH } from "../../src/protocol.ts";
import { dataFrame, ThinClient } from "./thin.ts";

/** Who talks to the server. */
export type Client = "library" | "thin";

/** An upload whose resource is registered. */
export interface Uploader {
  reference: string;
  /** Sends one message's worth; resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends it and waits until it is COMPLETED; the thin client must be told the digest. */
  finish(digest: () => Promise<string>): Promise<void>;
  /** Leaves without a word. */
  close(): void;
}

/** A resource that is open for reading. */
export interface Follower {
  /** Reads up to `to`, or to the resource's end; hears the bytes of each piece as it arrives. */
  read(to: number | undefined, arrived: (byteCount: number) => void): Promise<void>;
  close(): void;
}

/** So much is reported soon (PROTOCOL.md 4.4), as the library does. */
const REPORT_BYTES = 32 * 1024;
const REPORT_AFTER_MS = 2;
/** Frames of one write of the thin client. */
const FRAMES_AT_ONCE = 4;

export async function startUpload(
  client: Client,
  server: string,
  metadata: ResourceMetadata,
): Promise<Uploader> {
  return client === "thin"
    ? await ThinUploader.start(server, metadata)
    : await startLibraryUpload(server, metadata);
}

export async function openFollower(client: Client, reference: string): Promise<Follower> {
  return client === "thin" ? await openThin(reference) : await openLibrary(reference);
}

async function startLibraryUpload(server: string, metadata: ResourceMetadata): Promise<Uploader> {
  const upload = await push(server, metadata);
  const writer = upload.writable.getWriter();
  return {
    reference: upload.reference,
    write: (bytes) => writer.write(bytes),
    finish: async () => {
      await writer.close();
      await upload.done;
    },
    close: () => void upload.abort(),
  };
}

async function openLibrary(reference: string): Promise<Follower> {
  const download = await open(reference);
  return {
    read: async (to, arrived) => {
      for await (const bytes of download.read({ to })) arrived(bytes.length);
    },
    close: () => download.close(),
  };
}

/** Sends encoded messages, up to the limit that the server grants. */
class ThinUploader implements Uploader {
  readonly #client: ThinClient;
  readonly reference: string;
  #sent = 0;
  #limit: number;
  #granted: (() => void) | null = null;
  /** Messages are the same bytes again and again: they are encoded once. */
  #encoded: { bytes: Uint8Array; frames: Uint8Array; frameBytes: number } | null = null;
  #gathered = 0;

  private constructor(client: ThinClient, reference: string, limit: number) {
    this.#client = client;
    this.reference = reference;
    this.#limit = limit;
    client.onCredit = (credit) => {
      this.#limit = credit.limit;
      this.#granted?.();
      this.#granted = null;
    };
  }

  static async start(server: string, metadata: ResourceMetadata): Promise<ThinUploader> {
    const client = await ThinClient.open(server, UPLOAD_PATH);
    client.send({ "@": "StartUpload", metadata, digests: ["xxh128"] });
    const { reference, limit } = await client.next("ReadyForUpload");
    return new ThinUploader(client, reference.uri, limit!);
  }

  async write(bytes: Uint8Array): Promise<void> {
    while (this.#sent + bytes.length > this.#limit) {
      await this.#flush();
      if (this.#sent + bytes.length <= this.#limit) break;
      await this.#client.unlessFailed(new Promise<void>((resolve) => this.#granted = resolve));
    }
    if (this.#encoded?.bytes !== bytes) {
      await this.#flush();
      const encoded = dataFrame(bytes);
      const frames = new Uint8Array(encoded.length * FRAMES_AT_ONCE);
      for (let at = 0; at < frames.length; at += encoded.length) frames.set(encoded, at);
      this.#encoded = { bytes, frames, frameBytes: encoded.length };
    }
    this.#sent += bytes.length;
    this.#gathered++;
    // A small message is sent for its latency, a large one for its throughput.
    const isBulk = bytes.length > LIMITS.dataMessageBytes / 2;
    if (this.#gathered === FRAMES_AT_ONCE || !isBulk) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#gathered === 0) return;
    const { frames, frameBytes } = this.#encoded!;
    const count = this.#gathered;
    this.#gathered = 0;
    await this.#client.write(frames.subarray(0, count * frameBytes));
  }

  async finish(digest: () => Promise<string>): Promise<void> {
    await this.#flush();
    this.#client.send({ "@": "FinishUpload", checksum: await digest(), size: this.#sent });
    await this.#client.next("UploadAcknowledged");
    this.close();
  }

  close(): void {
    this.#client.close();
  }
}

async function openThin(reference: string): Promise<Follower> {
  const client = await ThinClient.open(reference, pathOf(reference));
  await client.next("StatusChanged");
  return {
    read: (to, arrived) => readThin(client, to, arrived),
    close: () => client.close(),
  };
}

async function readThin(
  client: ThinClient,
  to: number | undefined,
  arrived: (byteCount: number) => void,
): Promise<void> {
  const window = LIMITS.downloadWindowBytes;
  let offset = 0, reported = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const report = () => {
    timer = undefined;
    if (reported === offset) return;
    reported = offset;
    client.send({ "@": "Consumed", offset });
  };
  client.onData = (byteCount) => {
    arrived(byteCount);
    offset += byteCount;
    if (offset - reported >= window / 4) report();
    else if (offset - reported >= REPORT_BYTES) timer ??= setTimeout(report, REPORT_AFTER_MS);
  };
  client.send({ "@": "Follow", from: 0, to, window });
  const end = await client.next("FollowEnd");
  clearTimeout(timer);
  if (end.offset !== offset) throw new Error(`${offset} of ${end.offset} bytes arrived`);
}

/** Path and query of a reference. */
export function pathOf(reference: string): string {
  const { pathname, search } = new URL(reference);
  if (!pathname.startsWith(DOWNLOAD_PATH)) throw new Error(`no reference: ${reference}`);
  return pathname + search;
}
