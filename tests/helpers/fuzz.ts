/** Hostile peers on both WebSocket endpoints and the HTTP routes, and what must be true whatever they do. */
import process from "node:process";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { follow, push } from "../../src/client.ts";
import { createDigest } from "../../src/digest.ts";
import {
  closeReason,
  type DigestAlgorithm,
  DOWNLOAD_PATH,
  type ErrorCode,
  ERRORS,
  isFinal,
  LIMITS,
  type MessageOf,
  RESOURCES_PATH,
  StreamError,
  SUBPROTOCOL,
  UPLOAD_PATH,
} from "../../src/protocol.ts";
import type { Resources } from "../../src/resources.ts";
import { HEARTBEAT } from "../../src/session.ts";
import { DownloadSession } from "../../src/session/download.ts";
import { UploadSession } from "../../src/session/upload.ts";
import { assertBytes, eventually, FakeConnection, type Inbox, Peer } from "./connection.ts";
import { mutate, weird } from "./mutate.ts";
import type { Chance } from "./random.ts";
import { RawClient, rawUpgrade, startServer, type TestServer } from "./server.ts";

export interface FuzzOptions {
  /** Messages, connections and requests in all. */
  cases: number;
  /** Part of the connections that go over a socket. */
  socketShare: number;
}

/** What the peers heard. */
export interface FuzzReport {
  /** Uploads that were acknowledged. */
  completed: number;
  /** Rejections by code. */
  rejections: Partial<Record<ErrorCode, number>>;
}

/** Small, so that every limit is met. */
const SERVER = {
  maxUploads: 4,
  maxFollowers: 4,
  maxConnections: 20,
  maxResourceBytes: 300_000,
  maxContextBytes: 400_000,
  maxTotalBytes: 4_000_000,
  resumeWindowMs: 30,
  checkpointIntervalMs: 1,
};
const MAX_LINES = 10;
/** Resources that are asked for. */
const MAX_KNOWN = 40;
/** What a server that is well never says. */
const FAULTS: readonly ErrorCode[] = ["INTERNAL", "STORAGE_FAILED", "CONFLICT", "OFFSET_LOST"];

/** Runs so many cases against a server in memory, and looks whether it is well afterwards. */
export async function fuzz(chance: Chance, options: FuzzOptions): Promise<FuzzReport> {
  const strays: unknown[] = [];
  const stray = (error: unknown) => strays.push(error);
  process.on("unhandledRejection", stray);
  try {
    await using server = await startServer(SERVER);
    const fuzzer = new Fuzzer(chance, server, options.socketShare);
    for (let count = 0; count < options.cases; count++) await fuzzer.next();
    await fuzzer.end();
    assertEquals(strays, []);
    return fuzzer.report;
  } finally {
    process.off("unhandledRejection", stray);
  }
}

/** One connection, as a peer sees it. */
interface Wire {
  readonly inbox: Inbox;
  text(message: string): void;
  bytes(bytes: Uint8Array, final: boolean): void;
  /** Reads nothing, or goes on reading. */
  pause(isPaused: boolean): void;
  /** The connection ends, unless the server has closed it; then that is confirmed. */
  leave(): Promise<void>;
}

function fakeWire(peer: Peer): Wire {
  return {
    inbox: peer.inbox,
    text: (message) => peer.session.text(message),
    bytes: (bytes, final) => void peer.give(bytes, final),
    pause: (isPaused) => isPaused ? peer.connection.room.shut() : peer.connection.room.open(),
    leave() {
      peer.connection.room.open();
      peer.leave();
      return Promise.resolve();
    },
  };
}

function socketWire(client: RawClient): Wire {
  const { socket, inbox } = client;
  const isOpen = () => socket.readyState === WebSocket.OPEN;
  return {
    inbox,
    text: (message) => isOpen() && socket.send(message),
    bytes: (bytes) => isOpen() && client.give(bytes),
    pause() {},
    async leave() {
      if (inbox.closing !== null) return;
      socket.close();
      await inbox.close();
    },
  };
}

/** An upload as its peers know it. */
interface Known {
  id: string;
  secret: string;
}
