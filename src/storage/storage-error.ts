/**
 * Why the storage engine refused.
 *
 * - `CORRUPT`: bytes on disk are not what was written; the message names the file and the offset. Never served, never repaired silently.
 * - `NEWER`: the directory was written by a newer version of this program, which is no damage.
 * - `READ_ONLY`: the disk is full. Nothing is lost; writes work again when there is space.
 * - `FAILED`: an earlier disk fault (a failed sync) means that nobody can say what is durable; the process has to end.
 * - `CLOSED`: the engine was closed.
 * - `LOCKED`: another process has the directory open.
 * - `INVALID`: what was asked for can't be done: a key or value that is too long, bounds that contradict each other, a
 *   snapshot that was released. Nothing has happened.
 */
export type StorageErrorCode = "CORRUPT" | "NEWER" | "READ_ONLY" | "FAILED" | "CLOSED" | "LOCKED" | "INVALID";

/** An expected failure of the storage engine; `code` tells what a caller can do about it. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;
  /** Of a `CORRUPT` error: where the damage is. */
  readonly damage: Damage | undefined;
  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions, damage?: Damage) {
    super(message, options);
    this.code = code;
    this.damage = damage;
  }
}

/** Bytes that are not what was written: in which file (or directory, where files are missing), at which offset, and how that shows. */
export interface Damage {
  readonly path: string;
  readonly offset: number;
  readonly what: string;
}

/** A `CORRUPT` error: what was read, from which file, at which offset, and what was found there. */
export function corrupt(path: string, offset: number, what: string): StorageError {
  const message = `${path}: damaged at offset ${offset}: ${what}`;
  return new StorageError("CORRUPT", message, undefined, { path, offset, what });
}

/** A `NEWER` error: a whole file whose format has a version that this program does not know. */
export function newerFormat(path: string, version: number, known: number): StorageError {
  return new StorageError(
    "NEWER",
    `${path}: format version ${version} was written by a newer version of this program, which reads up to version ${known}`,
  );
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
