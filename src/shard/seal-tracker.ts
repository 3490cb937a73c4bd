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
  readonly #shards = new Set<Shard>();
  /** Of the shards that are attached. */
  readonly #flushed = new Map<GroupId, Applied>();
  readonly #sealed: { readonly seal: number; readonly applied: ReadonlyMap<Shard, Applied> }[] = [];

  /** To be called when the shard has taken over what the engine had of it. */
  attach(shard: Shard): void {
    this.#shards.add(shard);
    this.#flushed.set(shard.group, appliedOf(shard));
  }

  /** The replica is gone: nothing is said of it any more. */
  detach(shard: Shard): void {
    this.#shards.delete(shard);
    this.#flushed.delete(shard.group);
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
    const applied = new Map<Shard, Applied>();
    for (const shard of this.#shards) {
      batch.put(metaKey(shard.group), shard.metaForSeal());
      applied.set(shard, appliedOf(shard));
    }
    this.#sealed.push({ seal, applied });
  }

  flushed(seal: number): void {
    const done = this.#sealed.shift();
    assert(done?.seal === seal, `the engine flushed seal ${seal} where ${done?.seal} was next`);
    for (const [shard, applied] of done.applied) {
      // What was sealed of a former replica says nothing of a later one.
      if (this.#shards.has(shard)) this.#flushed.set(shard.group, applied);
    }
  }
}
