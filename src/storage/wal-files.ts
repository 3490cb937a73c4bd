/**
 * The files of the write-ahead log: the one that is written to, the one that will be next, and those whose records are
 * not all in tables yet. One whose records are is used again.
 *
 * The next file is got ready while the current one fills: it has its name, durably, and says that it was not begun
 * (mark 0). The current one is made durable bit by bit as it grows, also if nobody asks for it, so that there is little left
 * to wait for at its end. When it is full and durable, the mark is set to the next record's number. So a begun file shows
 * that the one before was complete, and where the log goes on.
 */
import type { Env } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { filePath } from "./file-names.ts";
import { LOG_HEADER_BYTES } from "./record-frame.ts";
import { RecordLogWriter, removeQuietly } from "./record-log.ts";
import { SpareFiles } from "./spare-files.ts";
import { isDiskFull } from "./storage-error.ts";

export const WAL_MAGIC = "FLOTWAL1";

/** A log file that is no longer written to, or was found at the start. */
export interface WalFile {
  readonly number: number;
  /** The number of its last record, or the one before its first if it has none. */
  readonly lastRecord: number;
  /** Where its records end, and the length of the file. */
  readonly bytes: number;
  readonly fileBytes: number;
}

export interface WalOptions {
  /** A file ends before the record that would make it longer, in bytes. */
  readonly fileBytes: number;
  /** How many files are kept to be used again. */
  readonly spareFiles: number;
}

/** A log that has synced this part of a file is in use, and worth a file that is allocated ahead. */
const SPARE_FROM = 1 / 32;
/** When this part of a file is written, the next one is got ready. */
const NEXT_FROM = 1 / 2;
/**
 * When this part of a file is written and not durable, a sync is begun that nobody waits for. Else all of a file that
 * nobody syncs would be synced at its end, and every writer would wait for that.
 */
const SYNC_AHEAD_FROM = 1 / 8;

export class WalFiles {
  readonly #env: Pick<Env, "fs" | "background">;
  readonly #directory: string;
  readonly #options: WalOptions;
  readonly #newFileNumber: () => number;
  readonly #failed: (error: unknown) => void;
  readonly #spares: SpareFiles;
  #old: WalFile[];
  #current: RecordLogWriter | undefined;
  #next: RecordLogWriter | undefined;
  #preparing: Promise<void> | undefined;

  /** `old`: what recovery found. `failed` is told about a disk fault that is final, in what nobody waits for. */
  constructor(
    env: Pick<Env, "fs" | "background">,
    directory: string,
    options: WalOptions,
    old: readonly WalFile[],
    newFileNumber: () => number,
    failed: (error: unknown) => void,
  ) {
    this.#env = env;
    this.#directory = directory;
    this.#options = options;
    this.#old = [...old];
    this.#newFileNumber = newFileNumber;
    this.#failed = failed;
    this.#spares = new SpareFiles(env, directory, { fileBytes: options.fileBytes, max: options.spareFiles });
  }

  /** Bytes of all log files, up to their last records. */
  get bytes(): number {
    let bytes = this.#current?.size ?? 0;
    for (const file of this.#old) bytes += file.bytes;
    return bytes;
  }

  /** Bytes of the files that are kept to be used again. */
  get spareBytes(): number {
    return this.#spares.bytes;
  }

  /** The file to write `more` bytes to, if the current one is it. */
  withRoomFor(more: number): RecordLogWriter | undefined {
    const log = this.#current;
    if (log === undefined) return undefined;
    if (log.size === LOG_HEADER_BYTES) return log;
    if (log.size + more > this.#options.fileBytes) return undefined;
    // What is synced often is worth going over to a file that is allocated.
    return log.allocatedBytes === 0 && log.isDurable && this.#spares.isReady ? undefined : log;
  }

  /** Makes the current file durable and begins the next one, with the record after `lastRecord`. Throws as `create` does. */
  async begin(lastRecord: number): Promise<RecordLogWriter> {
    const old = this.#current;
    if (old !== undefined && !old.isDurable) await old.sync();
    await this.#preparing;
    let log = this.#next;
    if (log === undefined) log = await this.#create(lastRecord + 1);
    else await log.setMark(lastRecord + 1);
    this.#next = undefined;
    this.#current = log;
    if (old !== undefined) {
      old.close();
      const { number, size, fileBytes } = old;
      this.#old.push({ number, lastRecord, bytes: size, fileBytes });
    }
    return log;
  }

  /** Gets ready what will be needed soon; called after each write. */
  lookAhead(synced: boolean): void {
    const log = this.#current;
    assert(log !== undefined, "the log looks ahead from a file");
    const { fileBytes, spareFiles } = this.#options;
    if (synced && log.size > fileBytes * SPARE_FROM) this.#spares.want(log.number);
    if (log.size - log.durable > fileBytes * SYNC_AHEAD_FROM) this.#syncAhead(log);
    if (
      spareFiles > 0 &&
      log.size > fileBytes * NEXT_FROM &&
      this.#next === undefined &&
      this.#preparing === undefined
    ) {
      this.#preparing = this.#prepare();
    }
  }

  /** Gives up the files whose records are all in tables. Never throws. */
  removeFlushed(flushedRecord: number): void {
    const kept: WalFile[] = [];
    for (const file of this.#old) {
      if (file.lastRecord > flushedRecord) kept.push(file);
      else this.#spares.offer(filePath(this.#directory, file.number, "wal"), file.fileBytes);
    }
    this.#old = kept;
  }

  /** The space of what is kept for later is needed now. Never throws. */
  dropSpares(): void {
    this.#spares.drop();
  }

  /** Closes the files, after `last` has written the end of the log. What was got ready for later is removed. */
  async close(last: (log: RecordLogWriter) => Promise<void>): Promise<void> {
    await this.#preparing;
    const log = this.#current;
    if (log !== undefined) await last(log);
    const next = this.#next;
    await this.abandon();
    if (next !== undefined) removeQuietly(this.#env.fs, next.path);
  }

  /** Closes the files as they are, when nothing is done to them any more, and removes the spare ones. */
  async abandon(): Promise<void> {
    await this.#preparing;
    await this.#current?.settled();
    this.#current?.close();
    this.#current = undefined;
    this.#next?.close();
    this.#next = undefined;
    await this.#spares.close();
  }

  #syncAhead(log: RecordLogWriter): void {
    log.syncAhead()?.catch((error: unknown) => this.#failed(error));
  }

  async #prepare(): Promise<void> {
    try {
      this.#next = await this.#create(0);
    } catch (error) {
      // What is full now may have space when the file is needed, and who needs it is told.
      if (!isDiskFull(error)) this.#failed(error);
    } finally {
      this.#preparing = undefined;
    }
  }

  #create(mark: number): Promise<RecordLogWriter> {
    const number = this.#newFileNumber();
    const path = filePath(this.#directory, number, "wal");
    return RecordLogWriter.create(this.#env.fs, {
      directory: this.#directory,
      path,
      magic: WAL_MAGIC,
      number,
      mark,
      spare: this.#spares.take(),
    });
  }
}
