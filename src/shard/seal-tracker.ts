import { type GroupId, INDEX_ZERO, type LogIndex, SYSTEM_GROUP } from "../../protocol/ids.ts";
import { assert } from "../lib/assert.ts";
import type { SealListener, WriteBatch } from "../storage/engine.ts";
import { metaKey } from "./engine-keys.ts";
import type { Shard } from "./shard.ts";

/** How far a group was applied, and the log's time there. */
interface Applied {
  readonly index: LogIndex;
  readonly timeMs: number;
}

const appliedOf = ({ appliedIndex, logTimeMs }: Shard): Applied => ({
  index: appliedIndex,
  timeMs: logTimeMs,
});

/**
 * Ties the engine's tables to the log: each table comes with how far every group was applied when its memtable was
 * sealed, so data and applied index are durable together or not at all, and the log knows what it may forget.
 */
export class SealTracker implements SealListener {
  #shards: readonly Shard[] = [];
  readonly #flushed = new Map<GroupId, Applied>();
  readonly #sealed: { readonly seal: number; readonly applied: ReadonlyMap<GroupId, Applied> }[] = [];

  /** To be called once, when the shards have taken over what the engine had of them. */
  attach(shards: readonly Shard[]): void {
    this.#shards = shards;
    for (const shard of shards) this.#flushed.set(shard.group, appliedOf(shard));
  }

  /** Up to where the effects of a group's log are in durable tables. */
  flushedIndex(group: GroupId): LogIndex {
    return this.#flushed.get(group)?.index ?? INDEX_ZERO;
  }

  /**
   * A log time that every shard has passed for good: what the engine has in tables was applied at that time or later. So
   * a start, which applies again what came after, does not go back behind it.
   */
  get flushedTimeMs(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const [group, { timeMs }] of this.#flushed) {
      if (group !== SYSTEM_GROUP && timeMs < earliest) earliest = timeMs;
    }
    return earliest === Number.POSITIVE_INFINITY ? 0 : earliest;
  }

  beforeSeal(seal: number, batch: WriteBatch): void {
    const applied = new Map<GroupId, Applied>();
    for (const shard of this.#shards) {
      batch.put(metaKey(shard.group), shard.metaForSeal());
      applied.set(shard.group, appliedOf(shard));
    }
    this.#sealed.push({ seal, applied });
  }

  flushed(seal: number): void {
    const done = this.#sealed.shift();
    assert(done?.seal === seal, `the engine flushed seal ${seal} where ${done?.seal} was next`);
    for (const [group, applied] of done.applied) this.#flushed.set(group, applied);
  }
}
