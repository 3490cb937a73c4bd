import { bunBackground } from "../env/bun-background.ts";
import { bunFileSystem } from "../env/bun-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import { compareBytes } from "../lib/bytes.ts";
import type {
  DurableEngine,
  EngineStats,
  KeySpan,
  ScanRange,
  Snapshot,
  WriteBatch,
  WriteOptions,
} from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";
import { StorageError } from "./storage-error.ts";

export type { EngineStats, KeySpan, LsmOptions, ScanRange, Snapshot, WriteBatch, WriteOptions };
export { compareBytes, StorageError };

/**
 * Opens an embedded store in `directory`, creating it if need be. One process at a time; rejects with a `StorageError`
 * (`LOCKED`, `CORRUPT`) or a `FileError`.
 *
 * @example
 * ```ts
 * import { open } from "flotilla/engine";
 *
 * await using store = await open("./data");
 * await store.put(Buffer.from("greeting"), Buffer.from("hello"));
 * for await (const [key, value] of store.scan({ prefix: Buffer.from("greet") })) console.log(key, value);
 * ```
 */
export async function open(directory: string, options: Partial<LsmOptions> = {}): Promise<Store> {
  const background = bunBackground();
  try {
    const env = { fs: bunFileSystem(), background, clock: systemClock(), log: consoleLog("warn") };
    return new Store(await openLsm(env, directory, options), () => background.close());
  } catch (error) {
    await background.close();
    throw error;
  }
}

/** An open store: an ordered map from byte strings to byte strings. All writes are durable when their promise resolves. */
export class Store implements AsyncDisposable {
  readonly #engine: DurableEngine;
  readonly #closed: () => Promise<void>;

  /** Not for users: see `open`. */
  constructor(engine: DurableEngine, closed: () => Promise<void>) {
    this.#engine = engine;
    this.#closed = closed;
  }

  put(key: Uint8Array, value: Uint8Array, options?: WriteOptions): Promise<void> {
    const batch = this.#engine.newBatch();
    batch.put(key, value);
    return this.#engine.write(batch, options);
  }

  delete(key: Uint8Array, options?: WriteOptions): Promise<void> {
    const batch = this.#engine.newBatch();
    batch.delete(key);
    return this.#engine.write(batch, options);
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
  async get(key: Uint8Array, snapshot?: Snapshot): Promise<Uint8Array | undefined> {
    return this.#engine.getSync(key, snapshot)?.slice();
  }

  /** The value without a promise and without a copy: valid until the next call into the store. */
  getSync(key: Uint8Array, snapshot?: Snapshot): Uint8Array | undefined {
    return this.#engine.getSync(key, snapshot);
  }

  /** The entries in a range as they are now, in order; keys and values are owned by the caller. */
  async *scan(range: ScanRange = {}): AsyncGenerator<[key: Uint8Array, value: Uint8Array], void, void> {
    using iterator = this.#engine.iterate(range);
    while (iterator.next()) yield [iterator.key.slice(), iterator.value.slice()];
  }

  /** What the store looks like now, for `get` and `scan`. To be released. */
  snapshot(): Snapshot {
    return this.#engine.snapshot();
  }

  /** Resolves when everything written so far is in tables. */
  flush(): Promise<void> {
    return this.#engine.flush();
  }

  /**
   * Flushes, then gives back the space of what was deleted or overwritten in the span (`gte` included, `lt` not), or has
   * expired; in all of the store without a span. Takes as long as it takes to rewrite what has to be merged.
   */
  compact(span?: KeySpan): Promise<void> {
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

  async close(): Promise<void> {
    await this.#engine.close();
    await this.#closed();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
