import type { Engine, WriteBatch } from "../storage/engine.ts";
import { deadlineIn } from "./expiry.ts";

/**
 * Gathers what applying writes, for all shards of a node, so that the engine is entered once a turn and not once a
 * command. Whoever reads what may just have been written calls `commit` first.
 */
export class ApplyBuffer {
  readonly engine: Engine;
  readonly #batch: WriteBatch;

  constructor(engine: Engine) {
    this.engine = engine;
    this.#batch = engine.newBatch();
  }

  /** `expiresAt`: from when on the value is gone, in log time; 0: it stays. */
  put(key: Uint8Array, value: Uint8Array, expiresAt = 0): void {
    this.#batch.put(key, value, expiresAt);
  }

  delete(key: Uint8Array): void {
    this.#batch.delete(key);
  }

  /** Deletes all keys from `gte` on and below `lt`, if there are any. */
  deleteRange(gte: Uint8Array, lt: Uint8Array): void {
    this.commit();
    using found = this.engine.iterate({ gte, lt, limit: 1, keysOnly: true });
    if (found.next()) this.#batch.deleteRange(gte, lt);
  }

  /** Makes everything gathered visible. */
  commit(): void {
    if (this.#batch.count === 0) return;
    this.engine.writeUnlogged(this.#batch);
    this.#batch.clear();
  }

  /** The value as of everything gathered, at the log time `now`. Borrowed until the next call into the engine. */
  get(key: Uint8Array, now: number): Uint8Array | undefined {
    this.commit();
    return this.engine.getSync(key, undefined, now);
  }

  /** From when on the key's value is gone; 0: it stays, or there is none at the log time `now`. */
  deadline(key: Uint8Array, now: number): number {
    this.commit();
    return deadlineIn(this.engine, key, now) ?? 0;
  }
}
