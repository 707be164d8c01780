/**
 * Where the bytes of resources are: one log each with, on request, an index of its line breaks.
 *
 * Several instances may share one place, each in a process of its own: what one writes the others read, and the
 * fence that a greater epoch makes holds for all of them.
 * @module
 */
import type { ResourceStatus } from "./protocol.ts";

/** Options that a log is opened with. */
export interface LogOptions {
  /** Whether line breaks are indexed. */
  lineAccess: boolean;
  /** Ownership of the log: who opens it with a greater epoch shuts every older writer out. */
  epoch: number;
  /** The life of the id (`ResourceStatus.life`): another one has another log; whichever it is by default. */
  life?: string;
  /** An append that counts whole or not at all: a log that ends within it is cut where it begins. */
  whole?: { byteOffset: number; byteCount: number };
}

/** Where a log ends. */
export interface LogEnd {
  /** Bytes appended. */
  readonly size: number;
  /** Line breaks among them; 0 without line access. */
  readonly lineBreaks: number;
  /** Lines among them, a last one without a line break included; 0 without line access. */
  readonly lines: number;
}

/**
 * The one place that appends to a log, until another writer is opened with a greater epoch.
 *
 * Where `flushData` and `flush` are missing, an append is as safe as it gets when it returns; where `settle`
 * is, whatever was appended can be read.
 */
export interface LogWriter extends LogEnd {
  /**
   * Appends all parts or, when it throws, nothing. With a status it is a checkpoint, too: all that was appended
   * can be read, the line break index included, before those who follow the tail hear the status.
   * @param byteOffset Where the caller believes the log ends; CONFLICT if it does not.
   * @param parts The bytes, which may be changed when it is over; none for a checkpoint of what is there.
   * @param statusOf The status, called once with the end behind the parts; it may be called before they are stored.
   * @throws {StreamError} FENCED after a newer writer was opened; DELETED; STORAGE_FAILED when the disk refuses.
   */
  append(
    byteOffset: number,
    parts: readonly Uint8Array[],
    statusOf?: (end: LogEnd) => ResourceStatus,
  ): Promise<void>;
  /**
   * Tells those who follow the tail of a status that brings no bytes: an end, a new owner. It gets out even where
   * the disk takes nothing any more.
   * @throws {StreamError} FENCED after a newer writer was opened; DELETED.
   */
  announce(status: ResourceStatus): Promise<void>;
  /** Makes everything appended visible to readers without a status, as an upload that fails needs it. */
  settle?(): Promise<void>;
  /** Brings the bytes appended to disk; what follows from them (the index) may be rebuilt after a crash. */
  flushData?(): Promise<void>;
  /** Brings everything appended, its index and its directory entries to disk; readers see it then, too. */
  flush?(): Promise<void>;
  /**
   * Makes sure that everything appended is still there, where it may be taken away by somebody else than its deletion.
   * @throws {StreamError} STORAGE_FAILED, DELETED.
   */
  confirm?(): Promise<void>;
  /** Releases the writer, once; what was appended after the last checkpoint is made visible, too. */
  close(): Promise<void>;
}

/** Hears the tail of a log, in order, wherever it is written; it must not throw. */
export interface TailListener {
  /** The life of the id that it hears of, where an id that is used again has the same tail; any by default. */
  readonly life?: string;
  /** Bytes were appended, which no status shows yet; whoever keeps them makes a copy. */
  appended(byteOffset: number, blocks: readonly Uint8Array[]): void;
  /** There is a new status; everything it shows can be read. */
  told(status: ResourceStatus): void;
}

/** The tail of a log that somebody follows. */
export interface FollowedTail {
  /** The newest status when the listener began to hear; null where storage knows none: then the record does. */
  readonly status: ResourceStatus | null;
  /** Ends it: the listener hears nothing any more. */
  close(): void;
}

/** Positional reads of a log; the caller knows how far it may read. */
export interface LogReader {
  /**
   * Reads exactly the bytes asked for.
   * @param byteOffset Where they begin.
   * @param byteCount How many they are.
   * @param buffer Memory that may be read into, with room for them; new memory costs more than the read.
   * @throws {StreamError} STORAGE_FAILED when the log is shorter: never fewer bytes in silence.
   */
  read(byteOffset: number, byteCount: number, buffer?: Uint8Array): Promise<Uint8Array>;
  /**
   * Position of a line break.
   * @param index Number of the line break, from 0.
   * @throws {StreamError} STORAGE_FAILED when the index is shorter, INDEX_DAMAGED when what it tells is no line break.
   */
  lineBreak(index: number): Promise<number>;
  /**
   * Checks cheaply that the index is that of so many lines; missing where an index cannot be damaged by itself.
   * @param lines Lines of a log that was completed.
   * @param size Bytes of it.
   * @throws {StreamError} INDEX_DAMAGED.
   */
  checkLines?(lines: number, size: number): Promise<void>;
  /**
   * When bytes arrived, to the checkpoint; missing where nobody takes notes.
   * @param byteOffsets Positions of the bytes, rising.
   * @returns Times in ms since 1970; null where nobody knows.
   */
  arrivals?(byteOffsets: readonly number[]): Promise<(number | null)[]>;
  /**
   * Where the bytes begin that arrived at a time or later; missing like `arrivals`.
   * @param timeMs The time, in ms since 1970.
   * @returns Position of the first of them; null where all arrived before.
   */
  arrivedSince?(timeMs: number): Promise<number | null>;
  /** Releases the reader. */
  close(): Promise<void>;
}

/** A place for logs. */
export interface Storage {
  /**
   * Name of the time within which appended bytes stay as they are without a flush; another one means that a machine
   * stopped in between. Missing where an append is as safe as it gets.
   */
  readonly boot?: string;
  /**
   * Makes a new, empty log.
   * @throws {StreamError} CONFLICT when there is one already.
   */
  create(id: string, options: LogOptions): Promise<LogWriter>;
  /**
   * Takes over an existing log at its end: the data is the truth, the index is brought in line with it.
   * @throws {StreamError} NOT_FOUND when there is none, or that of another life; FENCED when the epoch is not greater
   * than the last.
   */
  recover(id: string, options: LogOptions): Promise<LogWriter>;
  /**
   * Opens a log for reading; any number of readers beside the writer.
   * @param id Id of the log.
   * @param life The life of the id that is meant, where records and logs may be told of at different times; any by default.
   * @throws {StreamError} NOT_FOUND when there is none, or that of another life.
   */
  openReader(id: string, life?: string): Promise<LogReader>;
  /**
   * Deletes a log with its index; readers that are open may read on.
   * @param id Id of the log.
   * @param life The life of the id that is meant, as for `openReader`.
   * @returns False when there was none.
   */
  delete(id: string, life?: string): Promise<boolean>;
  /**
   * Deletes a log that no record names, and that nobody appends to any more: what a process leaves that is killed before its
   * new upload has a record. Missing where that is in nobody's way.
   * @returns Whether there was one.
   */
  deleteLeft?(id: string): Promise<boolean>;
  /**
   * Notes that a log is about to be deleted, until it is: its record goes first, and a process may be killed in between.
   * Missing, with the two below, where what that leaves is in nobody's way.
   */
  doom?(id: string): Promise<void>;
  /** Takes that back, as it has a record all the same. */
  spare?(id: string): Promise<void>;
  /** Ids of the logs that this was noted of, by an earlier process, too. */
  doomed?(): Promise<string[]>;
  /**
   * Follows the tail of a log, whether anybody writes it now or not.
   * @param id Id of the log.
   * @param listener Hears what comes after the status that is returned.
   */
  follow(id: string, listener: TailListener): Promise<FollowedTail>;
  /**
   * The newest status of a log, wherever it was told; null where storage knows none. Missing where nobody is ever
   * behind who follows the tail.
   * @param id Id of the log.
   */
  newest?(id: string): Promise<ResourceStatus | null>;
  /** Whether appends wait for longer than usual, as nothing takes them; missing where none waits. */
  readonly isStalled?: boolean;
  /** Bytes that can still be stored; missing where nobody knows. */
  freeBytes?(): Promise<number>;
  /** Releases everything. */
  close(): Promise<void>;
}
