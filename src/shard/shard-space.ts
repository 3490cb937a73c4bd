import type { ShardId } from "../../protocol/ids.ts";
import type { Engine, EngineIterator, Snapshot, WriteBatch } from "../storage/engine.ts";
import type { EngineKeys, Half } from "./engine-keys.ts";

/**
 * The part of a node's engine that holds one shard's data. It has two halves, of which one is in use. A snapshot that
 * arrives is written to the other, so that whatever breaks off leaves the data as they were; then the shard changes over,
 * and what it used before is cleared. Which half is in use is part of what the engine keeps of the shard with its applied
 * index: after a crash either all of it is the new state or all of it the old.
 */
export class ShardSpace {
  readonly #shard: ShardId;
  readonly #engine: Engine;
  readonly #keys: EngineKeys;
  /** Gathers for the half that is not in use, from the first entry of a snapshot until that half is cleared. */
  #batch: WriteBatch | undefined;

  constructor(shard: ShardId, engine: Engine, keys: EngineKeys) {
    this.#shard = shard;
    this.#engine = engine;
    this.#keys = keys;
  }

  get half(): Half {
    return this.#keys.half(this.#shard);
  }

  /** Reads and writes go to `half` from now on. */
  use(half: Half): void {
    this.#keys.use(this.#shard, half);
  }

  /** Changes over to the half that was filled. */
  changeOver(): void {
    this.use(this.#other);
  }

  /** Removes what the half that is not in use has: of a snapshot that broke off, or of before the change. */
  clearOther(): void {
    // What was gathered of a part that turned out to be damaged.
    this.#batch = undefined;
    const [gte, lt] = this.#keys.span(this.#shard, this.#other);
    using found = this.#engine.iterate({ gte, lt, limit: 1, keysOnly: true });
    if (!found.next()) return;
    const batch = this.#engine.newBatch();
    batch.deleteRange(gte, lt);
    this.#engine.writeUnlogged(batch);
  }

  /** What is in use, as of `snapshot` at the log time `now`, in order. Keys have a prefix of `DATA_PREFIX_BYTES`. */
  iterate(snapshot: Snapshot, now: number): EngineIterator {
    const [gte, lt] = this.#keys.span(this.#shard, this.half);
    return this.#engine.iterate({ gte, lt, snapshot, now });
  }

  snapshot(): Snapshot {
    return this.#engine.snapshot();
  }

  /** Adds an entry to what `fill` will write. */
  gather(key: Uint8Array, value: Uint8Array, expiresAt: number): void {
    this.#batch ??= this.#engine.newBatch();
    this.#batch.put(this.#keys.in(this.#shard, this.#other, key), value, expiresAt);
  }

  /** Writes what was gathered to the half that is not in use, durable with the engine's next flush. */
  fill(): void {
    const batch = this.#batch;
    if (batch === undefined || batch.count === 0) return;
    this.#engine.writeUnlogged(batch);
    batch.clear();
  }

  /** Makes everything that was written durable, with what the groups say of themselves. */
  flush(): Promise<void> {
    return this.#engine.flush();
  }

  /** The engine is behind, or full: it should not be given more now. */
  get isFull(): boolean {
    return this.#engine.pressure === "stop" || this.#engine.readOnlyReason !== undefined;
  }

  get #other(): Half {
    return this.half === 0 ? 1 : 0;
  }
}
