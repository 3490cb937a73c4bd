import type { Engine, WriteBatch } from "../storage/engine.ts";

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

  put(key: Uint8Array, value: Uint8Array): void {
    this.#batch.put(key, value);
  }

  delete(key: Uint8Array): void {
    this.#batch.delete(key);
  }

  /** Makes everything gathered visible. */
  commit(): void {
    if (this.#batch.count === 0) return;
    this.engine.writeUnlogged(this.#batch);
    this.#batch.clear();
  }

  /** The value as of everything gathered. Borrowed until the next call into the engine. */
  get(key: Uint8Array): Uint8Array | undefined {
    this.commit();
    return this.engine.getSync(key);
  }
}
