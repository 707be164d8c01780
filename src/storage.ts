/**
 * Where the bytes of resources are: one log each with, on request, an index of its line breaks.
 * @module
 */

/** What a log is opened with. */
export interface LogOptions {
  /** Whether line breaks are indexed. */
  lineAccess: boolean;
  /** Ownership of the log: who opens it with a greater epoch shuts every older writer out. */
  epoch: number;
}

/** The one place that appends to a log, until another writer is opened with a greater epoch. */
export interface LogWriter {
  /** Bytes appended. */
  readonly size: number;
  /** Line breaks among them; 0 without line access. */
  readonly lineBreaks: number;
  /** Lines among them, a last one without a line break included; 0 without line access. */
  readonly lines: number;
  /**
   * Appends all parts or, when it throws, nothing.
   * @param byteOffset Where the caller believes the log ends; CONFLICT if it does not.
   * @param parts The bytes.
   * @throws {StreamError} FENCED after a newer writer was opened; STORAGE_FAILED when the disk refuses.
   */
  append(byteOffset: number, parts: readonly Uint8Array[]): Promise<void>;
  /** Makes everything appended visible to readers, the line break index included. */
  checkpoint(): Promise<void>;
  /** Brings the bytes appended to disk; what follows from them (the index) may be rebuilt after a crash. */
  syncData(): Promise<void>;
  /** Brings everything appended, its index and its directory entries to disk. */
  sync(): Promise<void>;
  /** Releases the writer, once; what was appended after the last checkpoint is made visible, too. */
  close(): Promise<void>;
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
   * @throws {StreamError} STORAGE_FAILED when the index is shorter.
   */
  lineBreak(index: number): Promise<number>;
  /** Releases the reader. */
  close(): Promise<void>;
}

/** A place for logs. */
export interface Storage {
  /**
   * Makes a new, empty log.
   * @throws {StreamError} CONFLICT when there is one already.
   */
  create(id: string, options: LogOptions): Promise<LogWriter>;
  /**
   * Takes over an existing log at its end: the data is the truth, the index is brought in line with it.
   * @throws {StreamError} NOT_FOUND when there is none; FENCED when the epoch is not greater than the last.
   */
  recover(id: string, options: LogOptions): Promise<LogWriter>;
  /**
   * Opens a log for reading; any number of readers beside the writer.
   * @throws {StreamError} NOT_FOUND when there is none.
   */
  openReader(id: string): Promise<LogReader>;
  /** Deletes a log with its index; false when there was none. Readers that are open may read on. */
  delete(id: string): Promise<boolean>;
  /** Bytes that can still be stored; Infinity where nobody knows. */
  freeBytes(): Promise<number>;
  /** Releases everything. */
  close(): Promise<void>;
}
