import { type GroupId, INDEX_ZERO, type LogIndex } from "../../protocol/ids.ts";
import { assert } from "../lib/assert.ts";
import type { SealListener, WriteBatch } from "../storage/engine.ts";
import { metaKey } from "./engine-keys.ts";
import type { Shard } from "./shard.ts";

/**
 * Ties the engine's tables to the log: each table comes with how far every group was applied when its memtable was
 * sealed, so data and applied index are durable together or not at all, and the log knows what it may forget.
 */
export class SealTracker implements SealListener {
  #shards: readonly Shard[] = [];
  readonly #flushed = new Map<GroupId, LogIndex>();
  readonly #sealed: { readonly seal: number; readonly applied: ReadonlyMap<GroupId, LogIndex> }[] = [];

  /** To be called once, when the shards have taken over what the engine had of them. */
  attach(shards: readonly Shard[]): void {
    this.#shards = shards;
    for (const shard of shards) this.#flushed.set(shard.group, shard.appliedIndex);
  }

  /** Up to where the effects of a group's log are in durable tables. */
  flushedIndex(group: GroupId): LogIndex {
    return this.#flushed.get(group) ?? INDEX_ZERO;
  }

  beforeSeal(seal: number, batch: WriteBatch): void {
    const applied = new Map<GroupId, LogIndex>();
    for (const shard of this.#shards) {
      batch.put(metaKey(shard.group), shard.metaForSeal());
      applied.set(shard.group, shard.appliedIndex);
    }
    this.#sealed.push({ seal, applied });
  }

  flushed(seal: number): void {
    const done = this.#sealed.shift();
    assert(done?.seal === seal, `the engine flushed seal ${seal} where ${done?.seal} was next`);
    for (const [group, index] of done.applied) this.#flushed.set(group, index);
  }
}
