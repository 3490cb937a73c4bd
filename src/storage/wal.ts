/**
 * The write-ahead log: batches that are durable before they are in a table (`docs/formats/wal.md` is the reference).
 *
 * One batch is one record, and so is atomic. Commits go in groups: all batches that came while the last group was being
 * synced, or in one turn of the loop, share one write and one fdatasync. They become visible after that, in their order.
 *
 * A record has a number, one more than the record before. The manifest says up to which number the batches are in
 * tables; what is above is put into the memtable again when the engine opens. A new file is begun only when all of the
 * old one is durable; hence only the last file can have a torn tail.
 */
import type { Clock, FileSystem } from "../env/env.ts";
import { filePath } from "./file-names.ts";
import { GrowingBytes, readU32, readU64 } from "./fixed-width.ts";
import {
  LOG_HEADER_BYTES,
  newRecord,
  RECORD_HEADER_BYTES,
  RecordLogWriter,
  readRecordLog,
} from "./record-log.ts";
import { corrupt } from "./storage-error.ts";
import { assertBatch, BATCH_HEADER_BYTES, type EncodedBatch, writeBatchHeader } from "./write-batch.ts";

export const WAL_MAGIC = "FLOTWAL1";
export const RECORD_BATCH = 1;
/** The last record of a log that was closed in order: it vouches for all that is before it. */
export const RECORD_END = 2;

/** A log file that is no longer written to, or was found at the start. */
export interface WalFile {
  readonly number: number;
  /** The number of its last record, or the one before its first if it has none. */
  readonly lastRecord: number;
  readonly bytes: number;
}

/** What the log needs of the engine. */
export interface WalHost {
  newFileNumber(): number;
  /** Puts the encoded operations `bytes[start, end)` into the memtable. */
  apply(bytes: Uint8Array, start: number, end: number, count: number): void;
  /** A group of batches has been applied, and `lastRecord` tells so. */
  applied(): void;
  /** Settles when the next group may be written. */
  ready(): Promise<void>;
  /** A write failed; the result is what its writers are told. A log that failed is not written to again. */
  failed(error: unknown): Error;
}

/** Batches that are written together, and their writers' common promise. */
class Group {
  readonly records = new GrowingBytes(16 * 1024);
  /** Where each record begins in `records`. */
  readonly starts: number[] = [];
  readonly done: Promise<void>;
  sync = false;
  resolve!: () => void;
  reject!: (error: Error) => void;

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

export class Wal {
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #directory: string;
  readonly #fileBytes: number;
  readonly #host: WalHost;
  #old: WalFile[];
  #log: RecordLogWriter | undefined;
  #number = 0;
  #lastRecord: number;
  #pending: Group | undefined;
  #loop: Promise<void> | undefined;

  /** `recovered`: what `recoverWal` found. A file is created with the first write. */
  constructor(
    fs: FileSystem,
    clock: Clock,
    directory: string,
    fileBytes: number,
    recovered: RecoveredWal,
    host: WalHost,
  ) {
    this.#fs = fs;
    this.#clock = clock;
    this.#directory = directory;
    this.#fileBytes = fileBytes;
    this.#host = host;
    this.#old = [...recovered.files];
    this.#lastRecord = recovered.lastRecord;
  }

  /** The number of the last record whose batch is in the memtable or in tables. */
  get lastRecord(): number {
    return this.#lastRecord;
  }

  /** Bytes of all log files. */
  get bytes(): number {
    let bytes = this.#log?.size ?? 0;
    for (const file of this.#old) bytes += file.bytes;
    return bytes;
  }

  /**
   * Logs a batch and applies it; resolves when it is visible and, with `sync`, durable. The batch is copied before this
   * returns. Rejects with what `WalHost.failed` made of a failure; after a full disk nothing of the batch remains.
   */
  write(batch: EncodedBatch, sync: boolean): Promise<void> {
    if (batch.count === 0) return Promise.resolve();
    this.#pending ??= new Group();
    const group = this.#pending;
    const start = group.records.length;
    group.starts.push(start);
    group.records.reserve(RECORD_HEADER_BYTES + batch.byteLength);
    group.records.length = start + RECORD_HEADER_BYTES;
    group.records.append(batch.bytes, 0, batch.byteLength);
    // The number is filled in when the group is written; the count stays.
    writeBatchHeader(group.records.bytes, start + RECORD_HEADER_BYTES, 0, batch.count);
    if (sync) group.sync = true;
    if (this.#loop === undefined) {
      this.#loop = new Promise((resolve) => {
        this.#clock.endOfTurn(() => {
          void this.#commitGroups().then(resolve);
        });
      });
    }
    return group.done;
  }

  /** Removes the files whose records are all in tables. */
  removeFlushed(flushedRecord: number): void {
    const kept: WalFile[] = [];
    for (const file of this.#old) {
      if (file.lastRecord <= flushedRecord) this.#fs.remove(filePath(this.#directory, file.number, "wal"));
      else kept.push(file);
    }
    this.#old = kept;
  }

  /** Waits for the writes that were begun, and makes all of the log durable. Throws `FAILED`. */
  async close(): Promise<void> {
    while (this.#loop !== undefined) await this.#loop;
    const log = this.#log;
    if (log === undefined) return;
    this.#log = undefined;
    try {
      await log.sync();
      const end = newRecord();
      log.seal(end.bytes, 0, end.length, RECORD_END);
      log.write(end.bytes, end.length);
      await log.sync();
    } finally {
      log.close();
    }
  }

  /** Closes the file as it is: after a failure there is nothing to be saved. */
  abandon(): void {
    this.#log?.close();
    this.#log = undefined;
  }

  async #commitGroups(): Promise<void> {
    while (this.#pending !== undefined) {
      // Until the log may be written, more batches join the group.
      const group = this.#pending;
      try {
        await this.#host.ready();
        this.#pending = undefined;
        await this.#commit(group);
        group.resolve();
      } catch (error) {
        this.#pending = undefined;
        group.reject(this.#host.failed(error));
      }
    }
    this.#loop = undefined;
  }

  async #commit(group: Group): Promise<void> {
    const { records, starts } = group;
    const log = await this.#logWithRoomFor(records.length);
    const { bytes, length } = records;
    for (let i = 0; i < starts.length; i++) {
      const payload = starts[i]! + RECORD_HEADER_BYTES;
      writeBatchHeader(bytes, payload, this.#lastRecord + 1 + i, readU32(bytes, payload + 8));
      log.seal(bytes, starts[i]!, starts[i + 1] ?? length, RECORD_BATCH);
    }
    log.write(bytes, length);
    if (group.sync) await log.sync();
    for (let i = 0; i < starts.length; i++) {
      const payload = starts[i]! + RECORD_HEADER_BYTES;
      const end = starts[i + 1] ?? length;
      this.#host.apply(bytes, payload + BATCH_HEADER_BYTES, end, readU32(bytes, payload + 8));
    }
    this.#lastRecord += starts.length;
    this.#host.applied();
  }

  async #logWithRoomFor(more: number): Promise<RecordLogWriter> {
    const old = this.#log;
    if (old !== undefined && (old.size === LOG_HEADER_BYTES || old.size + more <= this.#fileBytes))
      return old;
    if (old !== undefined) await old.sync();
    const number = this.#host.newFileNumber();
    const path = filePath(this.#directory, number, "wal");
    const log = await RecordLogWriter.create(
      this.#fs,
      this.#directory,
      path,
      WAL_MAGIC,
      this.#lastRecord + 1,
    );
    if (old !== undefined) {
      old.close();
      this.#old.push({ number: this.#number, lastRecord: this.#lastRecord, bytes: old.size });
    }
    this.#log = log;
    this.#number = number;
    return log;
  }
}

export interface RecoveredWal {
  /** The highest record number in use. */
  readonly lastRecord: number;
  readonly files: readonly WalFile[];
}

/**
 * Reads the log files `numbers` (ascending) and hands every batch whose record number is above `flushedRecord` to
 * `apply`, in order. A torn tail is cut, and what was read is durable. Throws `CORRUPT` for damage and for records that are missing.
 */
export function recoverWal(
  fs: FileSystem,
  directory: string,
  numbers: readonly number[],
  flushedRecord: number,
  apply: (bytes: Uint8Array, start: number, end: number, count: number) => void,
): RecoveredWal {
  let lastRecord = flushedRecord;
  const files: WalFile[] = [];
  for (const [position, number] of numbers.entries()) {
    const path = filePath(directory, number, "wal");
    const isLast = position === numbers.length - 1;
    const { first, bytes, records, end, vouchedFor } = readRecordLog(fs, path, WAL_MAGIC, isLast);
    if (end === 0) {
      // The file was being created when the process died: it never had a record.
      fs.remove(path);
      fs.syncDirectorySync(directory);
      continue;
    }
    if (first > lastRecord + 1) {
      throw corrupt(
        path,
        0,
        `the log goes on with record ${first}, but records from ${lastRecord + 1} on are missing`,
      );
    }
    let next = first;
    for (const record of records) {
      if (record.type === RECORD_END) continue;
      if (record.type !== RECORD_BATCH)
        throw corrupt(path, record.start, `a record has the unknown type ${record.type}`);
      assertBatch(bytes, record.start, record.end);
      const recordNumber = readU64(bytes, record.start);
      if (recordNumber !== next) {
        throw corrupt(path, record.start, `a record has the number ${recordNumber}, expected ${next}`);
      }
      next++;
      if (recordNumber <= lastRecord) continue;
      lastRecord = recordNumber;
      apply(bytes, record.start + BATCH_HEADER_BYTES, record.end, readU32(bytes, record.start + 8));
    }
    if (isLast) makeDurable(fs, path, bytes, vouchedFor, end);
    files.push({ number, lastRecord: next - 1, bytes: end });
  }
  return { lastRecord, files };
}

/**
 * Makes the records up to `end` durable, and cuts what is behind them. What nothing vouches for may have been read from
 * memory only, and where a sync of it has failed the system takes it for written: so it is written once more.
 */
function makeDurable(fs: FileSystem, path: string, bytes: Uint8Array, vouchedFor: number, end: number): void {
  const handle = fs.open(path, "write");
  try {
    if (end < bytes.length) handle.truncate(end);
    handle.write(bytes, vouchedFor, end, vouchedFor);
    handle.syncNow();
  } finally {
    handle.close();
  }
}
