import type { ShardId } from "../../protocol/ids.ts";
import type { ClientResponse, Explain, ReadRequest, Scan, Ttl } from "../../protocol/messages.ts";
import { unreachable } from "../lib/assert.ts";
import type { Engine } from "../storage/engine.ts";
import type { EngineKeys } from "./engine-keys.ts";
import { deadlineIn } from "./expiry.ts";
import { readEntries } from "./read-entries.ts";
import type { ReadingSnapshots } from "./reading-snapshots.ts";

const NEVER = -1n;
const NO_KEY = -2n;

/** As of when a shard is read. */
export interface ReadTime {
  /** What expires at or before this log time is gone. */
  logMs: number;
  /** The time that an entry would get now. */
  clockMs: number;
  /** What is there by the log and gone by the clock, which is later, is not to be answered (`ShardReader.read`). */
  heedsClock: boolean;
}

/** Reads one shard's part of the engine, as of now. */
export class ShardReader {
  readonly #engine: Engine;
  readonly #shard: ShardId;
  readonly #keys: EngineKeys;
  readonly #snapshots: Pick<ReadingSnapshots, "open">;

  constructor(shard: ShardId, engine: Engine, keys: EngineKeys, snapshots: Pick<ReadingSnapshots, "open">) {
    this.#engine = engine;
    this.#shard = shard;
    this.#keys = keys;
    this.#snapshots = snapshots;
  }

  /**
   * The answer to `request`; its bytes may be borrowed from the engine. `undefined`, and only if the clock is to be heeded:
   * the answer would have what the clock says is gone, and the log does not; so the log's time has to move first.
   */
  read(request: ReadRequest, ageMs: number, time: Readonly<ReadTime>): ClientResponse | undefined {
    switch (request.kind) {
      case "get": {
        const key = this.#keys.of(this.#shard, request.keyspace, request.key);
        const value = this.#get(key, time);
        return value === undefined && this.#isOverdue(key, time)
          ? undefined
          : { kind: "value", value, ageMs };
      }
      case "exists": {
        const key = this.#keys.of(this.#shard, request.keyspace, request.key);
        const value = this.#get(key, time) !== undefined;
        return !value && this.#isOverdue(key, time) ? undefined : { kind: "boolean", value };
      }
      case "ttl":
        return this.#ttl(request, time);
      case "scan":
        return this.#scan(request, time);
      case "explain":
        return this.#explain(request, time);
      case "openSnapshot":
        // The log's time has to be the clock's: what has expired must not be in it.
        if (time.heedsClock) return undefined;
        return this.#snapshots.open(this.#shard, request.keyspace, request.leaseMs, time.logMs);
      default:
        return unreachable(request, "a read");
    }
  }

  /** What is there by the log, and by the clock if that is to be heeded. */
  #get(key: Uint8Array, time: Readonly<ReadTime>): Uint8Array | undefined {
    return this.#engine.getSync(key, undefined, time.heedsClock ? time.clockMs : time.logMs);
  }

  /** Whether a key that was not found is there by the log. */
  #isOverdue(key: Uint8Array, time: Readonly<ReadTime>): boolean {
    return time.heedsClock && this.#engine.getSync(key, undefined, time.logMs) !== undefined;
  }

  #ttl(request: Ttl, time: Readonly<ReadTime>): ClientResponse | undefined {
    const deadline = deadlineIn(
      this.#engine,
      this.#keys.of(this.#shard, request.keyspace, request.key),
      time.logMs,
    );
    if (deadline === undefined) return { kind: "integer", value: NO_KEY };
    if (deadline === 0) return { kind: "integer", value: NEVER };
    if (isPast(deadline, time)) return undefined;
    const nowMs = Math.max(time.clockMs, time.logMs);
    const value = BigInt(request.form === "at" ? deadline : Math.max(0, deadline - nowMs));
    return { kind: "integer", value };
  }

  #explain({ key, keyspace }: Explain, time: Readonly<ReadTime>): ClientResponse {
    const at = this.#keys.of(this.#shard, keyspace, key);
    const { steps, valueBytes, expiresAt } = this.#engine.trace(at, time.logMs);
    return {
      kind: "explanation",
      explanation: {
        steps: steps.map(({ place, level, table, verdict }) => ({
          ...{ place, verdict },
          ...{ level: level ?? null, table: table ?? null },
        })),
        valueBytes: valueBytes ?? null,
        expiresAtMs: expiresAt === 0 ? null : expiresAt,
      },
    };
  }

  #scan(request: Scan, time: Readonly<ReadTime>): ClientResponse | undefined {
    const [gte, lt] = this.#keys.keyspaceSpan(this.#shard, request.keyspace);
    return readEntries(this.#engine, gte, lt, request, { now: time.logMs }, (deadline) =>
      isPast(deadline, time),
    );
  }
}

/** Whether a deadline that the log's time has not reached is past by the clock, and that counts. */
function isPast(deadline: number, { heedsClock, clockMs }: Readonly<ReadTime>): boolean {
  return heedsClock && deadline !== 0 && deadline <= clockMs;
}
