/**
 * Records and upload contexts as the engine keeps them: JSON in UTF-8.
 * @module
 */
import { Buffer } from "node:buffer";
import type { ResourceRecord, UploadContext } from "../../catalog.ts";

/** A record as bytes. */
export function encodeRecord({ digestState, ...record }: ResourceRecord): Uint8Array {
  const state = digestState && {
    ...withText(digestState),
    flushed: digestState.flushed && withText(digestState.flushed),
  };
  return new TextEncoder().encode(JSON.stringify({ ...record, digestState: state }));
}

/**
 * A record from bytes.
 * @throws {SyntaxError} when they are none.
 */
export function decodeRecord(bytes: Uint8Array): ResourceRecord {
  const { digestState, owner, ...record } = JSON.parse(new TextDecoder().decode(bytes));
  return {
    ...record,
    digestState: digestState && {
      ...withBytes(digestState),
      // An earlier version has none.
      flushed: digestState.flushed ? withBytes(digestState.flushed) : null,
    },
    // JSON has no Infinity.
    owner: owner && { ...owner, untilMs: owner.untilMs ?? Infinity },
  };
}

/** An upload context as bytes. */
export function encodeContext(context: UploadContext): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(context));
}

/**
 * An upload context from bytes.
 * @throws {SyntaxError} when they are none.
 */
export function decodeContext(bytes: Uint8Array): UploadContext {
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** Key of an upload context: its id may hold what keys may not. */
export function contextKey(id: string): string {
  return Buffer.from(id).toString("base64url");
}

function withText<T extends { state: Uint8Array }>(saved: T): Omit<T, "state"> & { state: string } {
  return { ...saved, state: toBase64(saved.state) };
}

function withBytes<T extends { state: string }>(
  saved: T,
): Omit<T, "state"> & { state: Uint8Array } {
  return { ...saved, state: fromBase64(saved.state) };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
