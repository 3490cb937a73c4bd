import { type GroupId, shardOfGroup } from "../../protocol/ids.ts";
import type { Engine } from "../storage/engine.ts";
import { metaKey, spanOfShard } from "./engine-keys.ts";
import type { LogStore } from "./log-store.ts";

export interface RemovalParts {
  readonly engine: Engine;
  readonly logStore: LogStore;
  /** The node can't go on. */
  readonly fail: (error: Error) => void;
}

/**
 * How a replica goes from this node, such that a crash in between leaves neither half of one nor one that has forgotten what
 * it promised. First the log store notes that it is gone, with its term, its vote and how far its log went; once that is
 * durable its data are deleted from the engine; once that is, the log store notes it, and there may be another replica of
 * the group. A start that finds the first note without the last one goes on from there.
 */
export class ReplicaRemovals {
  readonly #parts: RemovalParts;
  readonly #underWay = new Set<GroupId>();
  /** Noted since the last flush of the log began, and in the flush under way. */
  #noted: GroupId[] = [];
  #flushing: GroupId[] = [];

  constructor(parts: RemovalParts) {
    this.#parts = parts;
  }

  /** Whether there can be no replica of the group yet. */
  isUnderWay(group: GroupId): boolean {
    return this.#underWay.has(group);
  }

  /** The replica is used no more. */
  begin(group: GroupId): void {
    this.#parts.logStore.drop(group);
    this.#underWay.add(group);
    this.#noted.push(group);
  }

  /** At a start: goes on with a removal whose first note is on the disk. */
  resume(group: GroupId): void {
    this.#underWay.add(group);
    this.#clear([group]);
  }

  /** The log store begins to flush what was noted so far. */
  flushStarted(): void {
    this.#flushing = this.#noted;
    this.#noted = [];
  }

  /** What was noted when the flush began is durable. */
  flushEnded(): void {
    const groups = this.#flushing;
    this.#flushing = [];
    if (groups.length > 0) this.#clear(groups);
  }

  #clear(groups: readonly GroupId[]): void {
    const { engine, logStore, fail } = this.#parts;
    const batch = engine.newBatch();
    for (const group of groups) {
      const [gte, lt] = spanOfShard(shardOfGroup(group));
      batch.deleteRange(gte, lt);
      batch.delete(metaKey(group));
    }
    engine.writeUnlogged(batch);
    engine.flush().then(() => {
      for (const group of groups) {
        logStore.cleared(group);
        this.#underWay.delete(group);
      }
    }, fail);
  }
}
