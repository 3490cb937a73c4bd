/**
 * The write-ahead log: batches that are durable before they are in a table (`docs/formats/wal.md` is the reference).
 *
 * Commits go in groups: all batches that came while the last group was being synced, or in one turn of the loop, share
 * one write and one fdatasync. A group is one record, and so is atomic; in it, its batches are one, in their order. They
 * become visible when it is written (and durable, if one of its writers waits for that). A group whose writers do not
 * wait for the disk is written at the end of the current run of microtasks, so that a writer who awaits each write does
 * not wait for a turn of the loop each time; now and then it does, so that the loop goes on. Batches that are not to be
 * logged wait in groups of their own, and become visible in their turn.
 *
 * A record has a number, one more than the record before. The manifest says up to which number the records are in
 * tables; what is above is put into the memtable again when the engine opens. A new file is begun only when all of the
 * old one is durable; hence only the last file can have a torn tail.
 */
import type { Env } from "../env/env.ts";
import { GrowingBytes } from "./fixed-width.ts";
import { RECORD_HEADER_BYTES } from "./record-frame.ts";
import { newRecord, type RecordLogWriter } from "./record-log.ts";
import { WalFiles, type WalOptions } from "./wal-files.ts";
import { RECORD_BATCH, RECORD_END, type RecoveredWal } from "./wal-recovery.ts";
import { BATCH_HEADER_BYTES, type EncodedBatch, writeBatchHeader } from "./write-batch.ts";

/** What the log needs of the engine. */
export interface WalHost {
  newFileNumber(): number;
  /** Puts the encoded operations `bytes[start, end)` into the memtable. */
  apply(bytes: Uint8Array, start: number, end: number, count: number): void;
  /** A group of batches has been applied, and `lastRecord` tells so. */
  applied(): void;
  /** Settles when the next group may be written; `undefined`: now. */
  ready(): Promise<void> | undefined;
  /** A write failed; the result is what its writers are told. A log that failed is not written to again. */
  failed(error: unknown): Error;
}

/** A group takes no further batch beyond this many bytes. */
export const GROUP_BYTES_MAX = 16 * 1024 * 1024;
/** A group's buffer that has grown beyond this is not kept. */
const KEPT_BUFFER_BYTES_MAX = 1024 * 1024;
/** As many groups, and bytes, are written without a turn of the loop. */
const GROUPS_PER_TURN = 64;
const BYTES_PER_TURN = 64 * 1024;
/** Where in a group's buffer the operations begin. */
const OPERATIONS = RECORD_HEADER_BYTES + BATCH_HEADER_BYTES;

/** Batches that are written together, as one record, and their writers' common promise. */
class Group {
  /** The record: room for its header and the batch's, then the operations. */
  readonly record: GrowingBytes;
  /** Operations in it. */
  count = 0;
  sync = false;
  /** False: it goes to the memtable only. */
  readonly logged: boolean;
  readonly done: Promise<void>;
  resolve!: () => void;
  reject!: (error: Error) => void;

  constructor(record: GrowingBytes, logged: boolean) {
    this.record = record;
    this.logged = logged;
    record.length = OPERATIONS;
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

export class Wal {
  readonly #clock: Env["clock"];
  readonly #host: WalHost;
  readonly #files: WalFiles;
  #lastRecord: number;
  /** Groups that wait to be written, oldest first; the last one takes more batches. */
  readonly #waiting: Group[] = [];
  /** The group that is being written, or was last. */
  #writing: Group | undefined;
  /** A buffer that no group uses. */
  #buffer: GrowingBytes | undefined;
  /** A run is about to begin; a run is under way. */
  #scheduled = false;
  #busy = false;
  /** The run that is under way, if it had to wait for something. */
  #running: Promise<void> | undefined;
  #groupsThisTurn = 0;
  #bytesThisTurn = 0;

  /** `recovered`: what `recoverWal` found. A file is created with the first write. */
  constructor(
    env: Pick<Env, "fs" | "clock" | "background">,
    directory: string,
    options: WalOptions,
    recovered: RecoveredWal,
    host: WalHost,
  ) {
    this.#clock = env.clock;
    this.#host = host;
    this.#lastRecord = recovered.lastRecord;
    this.#files = new WalFiles(
      env,
      directory,
      options,
      recovered.files,
      () => host.newFileNumber(),
      (error) => host.failed(error),
    );
  }

  /** The number of the last record whose batch is in the memtable or in tables. */
  get lastRecord(): number {
    return this.#lastRecord;
  }

  /** Settles with the last write that was begun; `undefined`: all are done. */
  get lastBegun(): Promise<void> | undefined {
    return (this.#waiting.at(-1) ?? this.#writing)?.done;
  }

  /** Bytes of all log files, up to their last records. */
  get bytes(): number {
    return this.#files.bytes;
  }

  /** Bytes of the files that are kept to be used again. */
  get spareBytes(): number {
    return this.#files.spareBytes;
  }

  /**
   * Logs a batch and applies it; resolves when it is visible and, with `sync`, durable. The batch is copied before this
   * returns. Rejects with what `WalHost.failed` made of a failure; after a full disk nothing of the batch remains. With
   * `logged` false the batch is only applied, after all that came before it.
   */
  write(batch: EncodedBatch, sync: boolean, logged = true): Promise<void> {
    if (batch.count === 0) return Promise.resolve();
    const group = this.#groupFor(batch.byteLength, logged);
    group.record.append(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength);
    group.count += batch.count;
    if (sync && logged) group.sync = true;
    if (!this.#scheduled && !this.#busy) this.#schedule(group.sync);
    return group.done;
  }

  /** Gives up the files whose records are all in tables. Never throws. */
  removeFlushed(flushedRecord: number): void {
    this.#files.removeFlushed(flushedRecord);
  }

  /** Gives back the space that is kept for later files. Never throws. */
  dropSpares(): void {
    this.#files.dropSpares();
  }

  /** Waits for the writes that were begun, and makes all of the log durable. Throws `FAILED`. */
  async close(): Promise<void> {
    await this.#settled();
    await this.#files.close(async (log) => {
      await log.sync();
      await writeEnd(log);
    });
  }

  /** Closes the files as they are, when nothing is under way any more: after a failure there is nothing to be saved. */
  async abandon(): Promise<void> {
    await this.#settled();
    await this.#files.abandon();
  }

  /** Settles when no write is under way. */
  async #settled(): Promise<void> {
    while (this.#scheduled || this.#busy) {
      await (this.#running ?? new Promise<void>((resolve) => this.#clock.endOfTurn(resolve)));
    }
  }

  #groupFor(bytes: number, logged: boolean): Group {
    const last = this.#waiting.at(-1);
    if (last?.logged === logged && last.record.length + bytes <= GROUP_BYTES_MAX) return last;
    const group = new Group(this.#buffer ?? new GrowingBytes(16 * 1024), logged);
    this.#buffer = undefined;
    this.#waiting.push(group);
    return group;
  }

  #schedule(sync: boolean): void {
    this.#scheduled = true;
    if (!sync && this.#groupsThisTurn < GROUPS_PER_TURN && this.#bytesThisTurn < BYTES_PER_TURN) {
      queueMicrotask(this.#start);
    } else {
      this.#groupsThisTurn = 0;
      this.#bytesThisTurn = 0;
      this.#clock.endOfTurn(this.#start);
    }
  }

  readonly #start = (): void => {
    this.#scheduled = false;
    this.#busy = true;
    const running = this.#commitWaiting();
    // What never had to wait is over by now.
    if (this.#busy) this.#running = running;
  };

  /** Writes groups until none waits. */
  async #commitWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting[0]!;
      try {
        // Until the log may be written, more batches join the group.
        const ready = this.#host.ready();
        if (ready !== undefined) await ready;
        this.#waiting.shift();
        this.#writing = group;
        if (group.logged) {
          const log =
            this.#files.withRoomFor(group.record.length) ?? (await this.#files.begin(this.#lastRecord));
          this.#write(group, log);
          if (group.sync) await log.sync();
        }
        this.#apply(group);
        if (group.logged) this.#files.lookAhead(group.sync);
        group.resolve();
      } catch (error) {
        if (this.#waiting[0] === group) this.#waiting.shift();
        group.reject(this.#host.failed(error));
      }
      if (group.record.bytes.length <= KEPT_BUFFER_BYTES_MAX) this.#buffer = group.record;
    }
    this.#busy = false;
    this.#running = undefined;
    this.#writing = undefined;
  }

  #write({ record, count }: Group, log: RecordLogWriter): void {
    const { bytes, length } = record;
    writeBatchHeader(bytes, RECORD_HEADER_BYTES, this.#lastRecord + 1, count);
    log.seal(bytes, 0, length, RECORD_BATCH);
    log.write(bytes, length);
  }

  #apply({ record, count, logged }: Group): void {
    this.#groupsThisTurn++;
    this.#bytesThisTurn += record.length;
    this.#host.apply(record.bytes, OPERATIONS, record.length, count);
    if (logged) this.#lastRecord++;
    this.#host.applied();
  }
}

/** Ends a log that is durable with a record that vouches for all of it, and gives back what it has allocated behind. */
async function writeEnd(log: RecordLogWriter): Promise<void> {
  try {
    const end = newRecord();
    log.seal(end.bytes, 0, end.length, RECORD_END);
    log.write(end.bytes, end.length);
    await log.sync();
    log.trim();
  } catch {
    // There may be no space for it, or worse. But what it vouches for was synced before.
  }
}
