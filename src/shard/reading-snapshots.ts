import { errorResponse } from "../../protocol/errors.ts";
import type { KeyspaceId, NodeId, ShardId } from "../../protocol/ids.ts";
import type { ClientResponse, QueueStatus, Scan } from "../../protocol/messages.ts";
import type { Clock, Random, Timer } from "../env/env.ts";
import type { Engine, Snapshot } from "../storage/engine.ts";
import type { EngineKeys } from "./engine-keys.ts";
import { readEntries } from "./read-entries.ts";

export interface ReadingSnapshotParts {
  readonly engine: Engine;
  readonly keys: EngineKeys;
  readonly clock: Clock;
  readonly random: Random;
  /** Where clients come back to. */
  readonly self: { readonly node: NodeId; readonly address: string };
  /** Most that there may be at one time. */
  readonly max: number;
}

interface Leased {
  readonly shard: ShardId;
  readonly keyspace: KeyspaceId | undefined;
  readonly snapshot: Snapshot;
  /** The keyspace in the half of the shard's space that was in use. */
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  /** The shard's log time when it was made: what had expired by then is not in it. */
  readonly logMs: number;
  readonly leaseMs: number;
  expiresMs: number;
}

/** How often leases are looked at. */
const LOOK_EVERY_MS = 250;
const IDS = 2 ** 32;

const GONE = errorResponse(
  "SNAPSHOT_GONE",
  "there is no such snapshot here: its lease has ended, or the node was started anew since",
);

/**
 * Moments of shards that clients scan at leisure. Each pins what the engine had then, so it has a lease, which every use of it
 * renews: who does not come back costs the node nothing for long. A snapshot belongs to the node that made it and to
 * nobody else: it outlives a change of leaders, since it does not matter who leads now, and ends with the process.
 */
export class ReadingSnapshots {
  readonly #parts: ReadingSnapshotParts;
  readonly #leased = new Map<number, Leased>();
  /** Ids of another life of this node are other ones, in all likelihood. */
  readonly #epoch: number;
  #last = 0;
  #timer: Timer | undefined;

  constructor(parts: ReadingSnapshotParts) {
    this.#parts = parts;
    this.#epoch = parts.random.below(2 ** 20) * IDS;
  }

  get count(): number {
    return this.#leased.size;
  }

  /** The snapshots that are kept, and how many may be. */
  get queue(): QueueStatus {
    return { name: "keptSnapshots", unit: "requests", used: this.count, max: this.#parts.max };
  }

  /** A snapshot of what is in the engine now of a shard's part of a keyspace. `logMs`: the shard's log time. */
  open(shard: ShardId, keyspace: KeyspaceId | undefined, leaseMs: number, logMs: number): ClientResponse {
    const { engine, keys, clock, self, max } = this.#parts;
    if (this.#leased.size >= max) {
      return errorResponse(
        "OVERLOADED",
        `this node keeps ${max} snapshots for scans already; try again later`,
      );
    }
    const [gte, lt] = keys.keyspaceSpan(shard, keyspace);
    this.#last = (this.#last + 1) % IDS;
    const id = this.#epoch + this.#last;
    const expiresMs = clock.nowMs() + leaseMs;
    const snapshot = engine.snapshot();
    this.#leased.set(id, { shard, keyspace, snapshot, gte, lt, logMs, leaseMs, expiresMs });
    this.#timer ??= clock.timer(LOOK_EVERY_MS, () => this.#look());
    return { kind: "snapshot", snapshot: id, ...self };
  }

  /** Reads a page of one, and renews its lease. */
  scan(request: Scan): ClientResponse {
    const leased = this.#leased.get(request.snapshot!);
    if (leased === undefined || leased.shard !== request.shard || leased.keyspace !== request.keyspace)
      return GONE;
    const { engine, clock } = this.#parts;
    leased.expiresMs = clock.nowMs() + leased.leaseMs;
    const { gte, lt, snapshot, logMs } = leased;
    return readEntries(engine, gte, lt, request, { snapshot, now: logMs }, NEVER_PAST)!;
  }

  /** `false`: there was none. */
  close(id: number): boolean {
    const leased = this.#leased.get(id);
    if (leased === undefined) return false;
    this.#leased.delete(id);
    leased.snapshot.release();
    return true;
  }

  /** Lets go of all: the node stops. */
  closeAll(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const id of [...this.#leased.keys()]) this.close(id);
  }

  #look(): void {
    this.#timer = undefined;
    const nowMs = this.#parts.clock.nowMs();
    for (const [id, { expiresMs }] of this.#leased) if (expiresMs <= nowMs) this.close(id);
    if (this.#leased.size > 0) this.#timer = this.#parts.clock.timer(LOOK_EVERY_MS, () => this.#look());
  }
}

const NEVER_PAST = (): boolean => false;
