import { bunBackground } from "../env/bun-background.ts";
import { bunFileSystem } from "../env/bun-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import { compareBytes } from "../lib/bytes.ts";
import type {
  DurableEngine,
  EngineIterator,
  EngineStats,
  KeySpan,
  ScanRange,
  Snapshot,
  WriteBatch,
  WriteOptions,
} from "./engine.ts";
import { type LsmEnv, openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";
import { boundsOf } from "./range-iterator.ts";
import { AsyncScan, Scan } from "./scan.ts";
import { invalid, StorageError } from "./storage-error.ts";
import { assertBytes } from "./write-batch.ts";

export type {
  AsyncScan,
  EngineIterator,
  EngineStats,
  KeySpan,
  LsmOptions,
  Scan,
  ScanRange,
  Snapshot,
  WriteBatch,
  WriteOptions,
};
export { compareBytes, StorageError };

export interface OpenOptions extends Partial<LsmOptions> {
  /** The outside world, for tests: the caller closes its background thread. Default: Bun's files, clock and a Worker. */
  readonly env?: LsmEnv;
}

export interface PutOptions extends WriteOptions {
  /**
   * From which time on the value is gone, in milliseconds since the Unix epoch. What time it is, is said by who reads, and
   * by `advanceTime`; the store looks at no clock.
   */
  readonly expiresAt?: number;
}

export interface ReadOptions {
  /** Read what the store looked like then. */
  readonly snapshot?: Snapshot | undefined;
  /** What expires at or before this time is gone, in milliseconds; the store's own time if that is later. */
  readonly now?: number | undefined;
}

/**
 * Opens an embedded store in `directory`, creating it if need be. One process at a time. Rejects with a `StorageError`:
 * `LOCKED` if a process has it open, `CORRUPT` for damage, `NEWER` for a format that is newer than this program (nothing
 * is changed then), `INVALID` for options that do not fit; with a `FileError` if the system refuses.
 *
 * @example
 * ```ts
 * import { open } from "flotilla/engine";
 *
 * await using store = await open("./data");
 * await store.put(Buffer.from("greeting"), Buffer.from("hello"));
 * await store.put(Buffer.from("greeting/today"), Buffer.from("hi"), { expiresAt: Date.now() + 86_400_000 });
 * for (const [key, value] of store.scanSync({ prefix: Buffer.from("greet"), now: Date.now() })) {
 *   console.log(Buffer.from(key).toString(), Buffer.from(value).toString());
 * }
 * await store.deleteRange(Buffer.from("greet"), Buffer.from("greeu"));
 * ```
 */
export async function open(directory: string, { env, ...options }: OpenOptions = {}): Promise<Store> {
  if (env !== undefined) return new Store(await openLsm(env, directory, options), async () => {});
  const background = bunBackground();
  try {
    const real = { fs: bunFileSystem(), background, clock: systemClock(), log: consoleLog("warn") };
    return new Store(await openLsm(real, directory, options), () => background.close());
  } catch (error) {
    await background.close();
    throw withAdvice(error, directory);
  }
}

/** What somebody whose store is damaged should do next. */
function withAdvice(error: unknown, directory: string): unknown {
  if (!(error instanceof StorageError) || error.code !== "CORRUPT") return error;
  const advice = `Nothing was changed. \`bun run engine verify ${directory}\` tells all that is damaged, \`bun run engine repair ${directory}\` what can be saved`;
  return new StorageError("CORRUPT", `${error.message}. ${advice}`, { cause: error }, error.damage);
}

/** A batch that has grown beyond this is not kept for the next single write. */
const KEPT_BATCH_BYTES_MAX = 64 * 1024;

/**
 * An open store: an ordered map from byte strings to byte strings. Keys have up to 64 KiB (the empty one is a key as well),
 * values up to 64 MiB, batches up to 256 MiB.
 *
 * What is passed in is copied before the call returns. What is not a Uint8Array is refused with a `TypeError`, what is too
 * long or contradicts itself with a `StorageError` (`INVALID`): both are thrown by the call itself, before anything has
 * happened. Writes reject with `READ_ONLY` while the disk is full and with `FAILED` after a fault that is final, and
 * everything with `CLOSED` in the end; reads throw `CORRUPT` for damaged bytes rather than returning them.
 *
 * Writes take effect in the order of the calls, and are visible when their promise resolves. By default they are durable
 * then: those of one turn of the loop share one sync of the disk, so begin many, and wait for them together.
 */
export class Store implements AsyncDisposable {
  readonly #engine: DurableEngine;
  readonly #closed: () => Promise<void>;
  #closing: Promise<void> | undefined;
  /** For single writes: a batch is copied before `write` returns. */
  #single: WriteBatch;

  /** Not for users: see `open`. */
  constructor(engine: DurableEngine, closed: () => Promise<void>) {
    this.#engine = engine;
    this.#closed = closed;
    this.#single = engine.newBatch();
  }

  put(key: Uint8Array, value: Uint8Array, options?: PutOptions): Promise<void> {
    this.#single.clear();
    this.#single.put(key, value, options?.expiresAt);
    return this.#writeSingle(options);
  }

  delete(key: Uint8Array, options?: WriteOptions): Promise<void> {
    this.#single.clear();
    this.#single.delete(key);
    return this.#writeSingle(options);
  }

  /** Deletes all keys from `gte` on and below `lt`, at once and however many they are: nothing is read or rewritten for it. */
  deleteRange(gte: Uint8Array, lt: Uint8Array, options?: WriteOptions): Promise<void> {
    this.#single.clear();
    this.#single.deleteRange(gte, lt);
    return this.#writeSingle(options);
  }

  /** A batch to fill and `write`. */
  batch(): WriteBatch {
    return this.#engine.newBatch();
  }

  /** Writes all of a batch or nothing. The batch may be changed again as soon as this returns. */
  write(batch: WriteBatch, options?: WriteOptions): Promise<void> {
    return this.#engine.write(batch, options);
  }

  /** The value, owned by the caller, or `undefined`. */
  async get(key: Uint8Array, options?: ReadOptions): Promise<Uint8Array | undefined> {
    return this.getSync(key, options)?.slice();
  }

  /**
   * The value without a promise and without a copy, or `undefined`. Borrowed: not to be changed, and valid until the next
   * call into the store or one of its iterators, or the next `await`.
   */
  getSync(key: Uint8Array, options?: ReadOptions): Uint8Array | undefined {
    assertBytes(key, "a key");
    if (options === undefined) return this.#engine.getSync(key);
    return this.#engine.getSync(key, options.snapshot, options.now);
  }

  /**
   * The entries in a range, in order, as they are when the first one is asked for; keys and values are owned by the caller.
   * Ends by itself, by leaving the loop, or by `return()`.
   */
  scan(range: ScanRange = {}): AsyncScan {
    return new AsyncScan(this.scanSync(range));
  }

  /** The same without promises: the fastest way to keep what is read. */
  scanSync(range: ScanRange = {}): Scan {
    checkRange(range);
    boundsOf(range);
    return new Scan(() => this.#engine.iterate(range));
  }

  /**
   * A position in a range, for loops that keep little of what they read: `next()` moves on, `seek()` goes elsewhere, and
   * key and value are borrowed until then. To be closed, unless it was read to its end without having sought.
   */
  iterate(range: ScanRange = {}): EngineIterator {
    checkRange(range);
    return this.#engine.iterate(range);
  }

  /** What the store looks like now, for reads and scans. To be released: until then, what it shows takes space. */
  snapshot(): Snapshot {
    return this.#engine.snapshot();
  }

  /**
   * Says what time it is, in milliseconds since the Unix epoch: every read from now on is at that time or later, and what
   * has expired by then gives its space back as tables are compacted. Not kept over a restart; an earlier time is passed over.
   */
  advanceTime(now: number): void {
    this.#engine.advanceTime(now);
  }

  /** Resolves when everything written so far is durable in tables, also what was written past the log. */
  flush(): Promise<void> {
    return this.#engine.flush();
  }

  /**
   * Flushes, then gives back the space of what was deleted or overwritten in the span (`gte` included, `lt` not), or has
   * expired; in all of the store without a span. Takes as long as it takes to rewrite what has to be merged.
   */
  compact(span?: KeySpan): Promise<void> {
    if (span?.gte !== undefined) assertBytes(span.gte, "gte");
    if (span?.lt !== undefined) assertBytes(span.lt, "lt");
    return this.#engine.compact(span);
  }

  /**
   * Makes `directory` a store of its own that holds everything written so far, without copying. It must not exist, and has
   * to be on the same file system. All or nothing; rejects with a `FileError` (`EEXIST`, `EXDEV`, `ENOSPC`).
   */
  checkpoint(directory: string): Promise<void> {
    return this.#engine.checkpoint(directory);
  }

  stats(): EngineStats {
    return this.#engine.stats();
  }

  /**
   * Ends what is under way and gives the directory back. What was written past the log and not flushed is gone. Rejects with
   * `FAILED` if what was written and not synced before could not be made durable; the store is closed all the same.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#engine.close();
    } finally {
      await this.#closed();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #writeSingle(options: WriteOptions | undefined): Promise<void> {
    const written = this.#engine.write(this.#single, options);
    if (this.#single.byteLength > KEPT_BATCH_BYTES_MAX) this.#single = this.#engine.newBatch();
    return written;
  }
}

function checkRange(range: ScanRange): void {
  const { gte, gt, lt, lte, prefix, limit } = range;
  if (gte !== undefined) assertBytes(gte, "gte");
  if (gt !== undefined) assertBytes(gt, "gt");
  if (lt !== undefined) assertBytes(lt, "lt");
  if (lte !== undefined) assertBytes(lte, "lte");
  if (prefix !== undefined) assertBytes(prefix, "prefix");
  if (limit !== undefined && !(limit >= 0)) throw invalid(`a scan's limit is ${limit}`);
}
