/**
 * Writes files of records: the write-ahead log and the manifest (`record-frame.ts` has the layout, `RecordReader` is
 * the other direction).
 */
import type { FileHandle, FileSystem } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { GrowingBytes } from "./fixed-width.ts";
import {
  encodeLogHeader,
  LOG_FILE_BYTES_MAX,
  LOG_HEADER_BYTES,
  RECORD_HEADER_BYTES,
  type RecordSalt,
  recordSalt,
  sealRecord,
} from "./record-frame.ts";
import { StorageError } from "./storage-error.ts";

/** What the writer of a new file has to know. */
export interface NewRecordLog {
  readonly directory: string;
  readonly path: string;
  readonly magic: string;
  readonly number: number;
  readonly mark: number;
  /** A file that is overwritten and gets the new name; without it a file is created. */
  readonly spare?: string | undefined;
}

/** Appends records to a new file. One caller at a time: a `write` or `sync` ends before the next begins. A `syncAhead` may run. */
export class RecordLogWriter {
  readonly #handle: FileHandle;
  readonly #magic: string;
  readonly #salt: RecordSalt;
  /** The file's number, as in its name. */
  readonly number: number;
  /** How much of the file's length was there before records were written; 0 if it grows with them. */
  readonly allocatedBytes: number;
  #size = LOG_HEADER_BYTES;
  #durable = LOG_HEADER_BYTES;
  /** A sync that nobody waited for when it began; stays if it has failed. */
  #syncingAhead: Promise<void> | undefined;

  private constructor(handle: FileHandle, magic: string, number: number, allocatedBytes: number) {
    this.#handle = handle;
    this.#magic = magic;
    this.#salt = recordSalt(number);
    this.number = number;
    this.allocatedBytes = allocatedBytes;
  }

  /**
   * Creates the file, or overwrites the spare one, and makes it durable with its directory entry. Throws `FileError`
   * (then there is no file, and no spare either), or `FAILED` if a sync failed.
   */
  static async create(fs: FileSystem, file: NewRecordLog): Promise<RecordLogWriter> {
    const { directory, path, magic, number, spare } = file;
    // The spare file had a name once, under which its new contents must never be found.
    if (spare !== undefined) await syncOrFail(fs.syncDirectory(directory), directory);
    let name = spare ?? path;
    const handle = fs.open(name, spare === undefined ? "create" : "write");
    try {
      const allocatedBytes = handle.size();
      handle.write(encodeLogHeader(magic, number, file.mark), 0, LOG_HEADER_BYTES, 0);
      await syncOrFail(handle.sync(), name);
      if (spare !== undefined) fs.rename(spare, path);
      name = path;
      await syncOrFail(fs.syncDirectory(directory), directory);
      return new RecordLogWriter(handle, magic, number, allocatedBytes);
    } catch (error) {
      handle.close();
      removeQuietly(fs, name);
      throw error;
    }
  }

  get path(): string {
    return this.#handle.path;
  }

  /** Where the records end, in bytes from the file's beginning. */
  get size(): number {
    return this.#size;
  }

  /** Where what was written and is not durable begins, in bytes from the file's beginning. */
  get durable(): number {
    return this.#durable;
  }

  /** Whether everything that was written is durable. */
  get isDurable(): boolean {
    return this.#durable === this.#size;
  }

  /** Bytes that the file takes on disk, as far as this writer knows. */
  get fileBytes(): number {
    return Math.max(this.#size, this.allocatedBytes);
  }

  /** Durably gives the file, in which there are no records yet, another mark. Throws `FileError` or `FAILED`. */
  async setMark(mark: number): Promise<void> {
    assert(this.#size === LOG_HEADER_BYTES, `${this.path}: the mark is set before there are records`);
    this.#handle.write(encodeLogHeader(this.#magic, this.number, mark), 0, LOG_HEADER_BYTES, 0);
    await syncOrFail(this.#handle.sync(), this.path);
  }

  /**
   * Writes the records in `bytes[0, end)` (whose headers `seal` has filled in) with one call. If that fails, the file is
   * cut back to what it was, so that no part of a refused write can come to life later.
   */
  write(bytes: Uint8Array, end: number): void {
    assert(this.#size + end <= LOG_FILE_BYTES_MAX, `${this.path}: ${this.#size + end} bytes are too many`);
    try {
      this.#handle.write(bytes, 0, end, this.#size);
    } catch (error) {
      this.#handle.truncate(this.#size);
      throw error;
    }
    this.#size += end;
  }

  /** Fills in the header of the record in `bytes[start, end)`, which will be written with all that is before it in `bytes`. */
  seal(bytes: Uint8Array, start: number, end: number, type: number): void {
    sealRecord(bytes, start, end, type, this.#size + start, this.#durable, this.#salt);
  }

  /** Makes everything that was written durable. Throws `FAILED`, which is final: nobody can say what is on the disk. */
  async sync(): Promise<void> {
    // Of two syncs of a file at a time only one might be told of a fault.
    if (this.#syncingAhead !== undefined) await this.#syncingAhead;
    await this.#sync();
  }

  /**
   * The same while writing goes on, for what is written until now, so that a later `sync` has less to do; that one fails as
   * well if this has failed. `undefined`: one is under way.
   */
  syncAhead(): Promise<void> | undefined {
    if (this.#syncingAhead !== undefined) return undefined;
    const syncing = this.#sync().then(() => {
      this.#syncingAhead = undefined;
    });
    this.#syncingAhead = syncing;
    return syncing;
  }

  async #sync(): Promise<void> {
    const size = this.#size;
    await syncOrFail(this.#handle.sync(), this.path);
    this.#durable = size;
  }

  /** Settles when no `syncAhead` is under way; whether it failed, its caller is told. */
  async settled(): Promise<void> {
    await this.#syncingAhead?.catch(() => {});
  }

  /** Gives back what the file has allocated behind its records. */
  trim(): void {
    if (this.allocatedBytes > this.#size) this.#handle.truncate(this.#size);
  }

  close(): void {
    this.#handle.close();
  }
}

/**
 * Waits for a sync. After a failed one the kernel marks the pages clean, so that a second one would succeed without
 * having written anything: the error is `FAILED`, and there is no second try.
 */
export async function syncOrFail(sync: Promise<void>, path: string): Promise<void> {
  try {
    await sync;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StorageError("FAILED", `cannot sync ${path}: ${reason}`, { cause: error });
  }
}

/** Removes what an attempt that failed has left. If that fails too, the first error is the one that counts. */
export function removeQuietly(fs: FileSystem, path: string): void {
  try {
    fs.remove(path);
  } catch {
    // It is left over, and goes when the directory is opened the next time.
  }
}

const REWRITE_BYTES = 1024 * 1024;

/**
 * Makes what was read of a file's tail durable, and cuts what is behind `end`. What nothing vouches for (from
 * `vouchedFor` on) may have been read from memory only, and where a sync of it has failed the system takes it for
 * written: so it is written once more. Throws `FileError`.
 */
export function settleTail(handle: FileHandle, vouchedFor: number, end: number): void {
  if (end < handle.size()) handle.truncate(end);
  const bytes = new Uint8Array(Math.min(REWRITE_BYTES, Math.max(0, end - vouchedFor)));
  for (let at = vouchedFor; at < end; at += bytes.length) {
    const length = handle.read(bytes, 0, Math.min(bytes.length, end - at), at);
    handle.write(bytes, 0, length, at);
  }
  handle.syncNow();
}

/** Collects one record to be written: a header to fill in, then the payload. */
export function newRecord(): GrowingBytes {
  const out = new GrowingBytes(1024);
  out.length = RECORD_HEADER_BYTES;
  return out;
}
