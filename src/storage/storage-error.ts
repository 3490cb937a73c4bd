/**
 * Why the storage engine refused.
 *
 * - `CORRUPT`: bytes on disk are not what was written; the message names the file and the offset. Never served, never repaired silently.
 * - `READ_ONLY`: the disk is full. Nothing is lost; writes work again when there is space.
 * - `FAILED`: an earlier disk fault (a failed sync) means that nobody can say what is durable; the process has to end.
 * - `CLOSED`: the engine was closed.
 * - `LOCKED`: another process has the directory open.
 * - `INVALID`: what was asked for can't be done: a key or value that is too long, bounds that contradict each other, a
 *   snapshot that was released. Nothing has happened.
 */
export type StorageErrorCode = "CORRUPT" | "READ_ONLY" | "FAILED" | "CLOSED" | "LOCKED" | "INVALID";

/** An expected failure of the storage engine; `code` tells what a caller can do about it. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;
  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A `CORRUPT` error: what was read, from which file, at which offset, and what was found there. */
export function corrupt(path: string, offset: number, what: string): StorageError {
  return new StorageError("CORRUPT", `${path}: damaged at offset ${offset}: ${what}`);
}

/** An `INVALID` error. */
export function invalid(what: string): StorageError {
  return new StorageError("INVALID", what);
}

/** Whether a file system call failed because there is no space: what can pass. */
export function isDiskFull(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT";
}

/** What an error of any kind says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
