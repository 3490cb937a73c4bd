/**
 * The outside world, as a node sees it. Everything that a node does to time, chance, disks, networks and threads goes
 * through these interfaces. The real ones are built in `main.ts` and in the benchmarks only; tests supply twins, so the
 * very code that ships can run under a virtual clock, a lossy network and a forgetful disk.
 */
import type { Random } from "../lib/prng.ts";

export type { Random };

export interface Env {
  readonly clock: Clock;
  readonly random: Random;
  readonly fs: FileSystem;
  readonly transport: Transport;
  readonly background: Background;
  readonly log: Log;
}

/** Time. Durations are measured on the monotonic clock; the wall clock is for people and for entry time stamps only. */
export interface Clock {
  /** Milliseconds on a clock that never goes back, with a fraction; its zero means nothing. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch. May jump. */
  wallMs(): number;
  /** Calls `callback` once, `delayMs` or a little more from now. */
  timer(delayMs: number, callback: () => void): Timer;
  /**
   * Calls `callback` once, after the I/O events that are waiting now have been handled: the end of a turn of the loop.
   * What is asked for while an end of turn runs, runs in the same one, after what was there before.
   */
  endOfTurn(callback: () => void): void;
}

export interface Timer {
  cancel(): void;
}

/** What a file system call failed with. `code` is the errno name: `ENOSPC`, `EIO`, `ENOENT`, `EEXIST`, ... */
export class FileError extends Error {
  override readonly name = "FileError";
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Files. Reads and writes are synchronous (under a microsecond from and to the page cache); a sync is the one thing
 * that is awaited. Every method throws `FileError`. Paths are absolute or relative to the process.
 */
export interface FileSystem {
  /**
   * Opens a file. `create`: a new file for reading and writing, fails with EEXIST; `write`: an existing file for
   * reading and writing; `read`: an existing file for reading.
   */
  open(path: string, mode: "create" | "write" | "read"): FileHandle;
  exists(path: string): boolean;
  /** The names in a directory, sorted; empty if it does not exist. */
  list(directory: string): string[];
  /** Creates a directory and its parents. */
  makeDirectory(directory: string): void;
  /** Removes an empty directory; fails with ENOENT and ENOTEMPTY. Durable only after `syncDirectory` of its parent. */
  removeDirectory(directory: string): void;
  /**
   * Renames a file, replacing the file that has the new name, or a directory, to a name that is free. Durable only after
   * `syncDirectory`, of both directories where they are two.
   */
  rename(from: string, to: string): void;
  /** Gives the file `from` a second name (a hard link), fails with EEXIST. Durable only after `syncDirectory`. */
  link(from: string, to: string): void;
  /** Removes a file; nothing happens if there is none. Durable only after `syncDirectory`. */
  remove(path: string): void;
  /** Makes creations, links, renames and removals in `directory` durable. */
  syncDirectory(directory: string): Promise<void>;
  /** The same, before returning; for start-up and small administrative files. */
  syncDirectorySync(directory: string): void;
  /**
   * Takes a lock that the operating system gives back when the process dies, however it dies.
   * `undefined`: somebody else holds it.
   */
  lock(path: string): FileLock | undefined;
  /** The id of the process that holds the lock, if that can be known. */
  lockHolder(path: string): number | undefined;
}

export interface FileLock {
  release(): void;
}

/** An open file. The caller closes it. */
export interface FileHandle {
  readonly path: string;
  /** Length in bytes. */
  size(): number;
  /**
   * Reads up to `length` bytes at `position` into `target` at `targetOffset`; returns how many were there (fewer only
   * at the end of the file).
   */
  read(target: Uint8Array, targetOffset: number, length: number, position: number): number;
  /** Writes all of `bytes[start, end)` at `position`, continuing short writes. `bytes` is borrowed during the call. */
  write(bytes: Uint8Array, start: number, end: number, position: number): void;
  /** Makes the file's data and length durable (fdatasync), without blocking the thread. Rejects with `FileError`. */
  sync(): Promise<void>;
  /** The same, before returning; for start-up, for small administrative files, and for background threads. */
  syncNow(): void;
  truncate(length: number): void;
  close(): void;
}

/** Why a port could not be opened: a sentence. `code` is the errno name: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, ... */
export class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Byte streams between processes. */
export interface Transport {
  /** Listens; rejects with a `ListenError` (`EADDRINUSE`, ...). Port 0 picks a free one. */
  listen(host: string, port: number, handler: ConnectionHandler): Promise<Listener>;
  /** Starts to connect; `opened` or `closed` of the handler says how it went. */
  connect(host: string, port: number, handler: ConnectionHandler): Connection;
  /** All addresses that a name stands for now. The host itself where that is an address, or a name that nobody knows. */
  resolve(host: string): Promise<readonly string[]>;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Stops accepting; open connections live on. */
  close(): void;
}

export interface ConnectionHandler {
  opened(connection: Connection): void;
  /** `bytes` belongs to the receiver: it may be kept. */
  received(connection: Connection, bytes: Uint8Array): void;
  /** All queued bytes have been handed to the operating system. */
  drained?(connection: Connection): void;
  /** The other side will send no more (it may still read). */
  ended?(connection: Connection): void;
  /** The connection is gone; called once, also when it never opened. */
  closed(connection: Connection, error: Error | undefined): void;
}

export interface Connection {
  /** `host:port` of the other side. */
  readonly remote: string;
  /** For the handler's own state of this connection. */
  state: unknown;
  /**
   * Sends `bytes`. Borrowed during the call only: what the operating system does not take at once is copied and queued.
   * One system call each: a caller gathers what a turn of the loop produced into one call.
   */
  send(bytes: Uint8Array): void;
  /** Bytes that wait for the operating system to take them. */
  readonly queuedBytes: number;
  /** Stops and restarts reading from the other side. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes. */
  finish(): void;
  /** Closes at once; what is queued is lost. */
  destroy(): void;
}

/**
 * Long work off the event loop: a named job over structured-cloneable arguments (SharedArrayBuffers included). A Worker
 * in production, inline in tests. Rejects with what the job threw.
 */
export interface Background {
  run(job: string, argument: unknown): Promise<unknown>;
  close(): Promise<void>;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a node tells its operator: one line an event, `message` a sentence, `fields` its facts. */
export interface Log {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}
