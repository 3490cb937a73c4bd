import type { ShardId } from "../../protocol/ids.ts";
import { SCAN_BYTES_MAX, SCAN_ENTRIES_MAX } from "../../protocol/limits.ts";
import type { ClientResponse, Explain, KeyValue, ReadRequest, Scan, Ttl } from "../../protocol/messages.ts";
import { unreachable } from "../lib/assert.ts";
import type { Engine } from "../storage/engine.ts";
import { type EngineKeys, prefixBytes } from "./engine-keys.ts";
import { deadlineIn } from "./expiry.ts";

const NOTHING = new Uint8Array(0);
const NEVER = -1n;
const NO_KEY = -2n;

/** As of when a shard is read. */
export interface ReadTime {
  /** What expires at or before this log time is gone. */
  logMs: number;
  /** The node's wall clock. */
  clockMs: number;
  /** What is there by the log and gone by the clock, which is later, is not to be answered (`ShardReader.read`). */
  heedsClock: boolean;
}

/** Reads one shard's part of the engine, as of now. */
export class ShardReader {
  readonly #engine: Engine;
  readonly #shard: ShardId;
  readonly #keys: EngineKeys;

  constructor(shard: ShardId, engine: Engine, keys: EngineKeys) {
    this.#engine = engine;
    this.#shard = shard;
    this.#keys = keys;
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
    const limit = Math.min(request.limit, SCAN_ENTRIES_MAX);
    const { keyspace, start, end } = request;
    const gte = this.#keys.of(this.#shard, keyspace, start).slice();
    const lt =
      end === undefined
        ? this.#keys.keyspaceSpan(this.#shard, keyspace)[1]
        : this.#keys.of(this.#shard, keyspace, end).slice();
    const prefix = prefixBytes(keyspace);
    const entries: KeyValue[] = [];
    let bytes = 0;
    using iterator = this.#engine.iterate({ gte, lt, now: time.logMs });
    while (iterator.next()) {
      if (entries.length === limit || bytes >= SCAN_BYTES_MAX)
        return { kind: "entries", entries, more: true };
      if (isPast(iterator.expiresAt, time)) return undefined;
      const key = iterator.key.slice(prefix);
      const value = request.keysOnly ? NOTHING : iterator.value.slice();
      bytes += key.length + value.length;
      entries.push({ key, value });
    }
    return { kind: "entries", entries, more: false };
  }
}

/** Whether a deadline that the log's time has not reached is past by the clock, and that counts. */
function isPast(deadline: number, { heedsClock, clockMs }: Readonly<ReadTime>): boolean {
  return heedsClock && deadline !== 0 && deadline <= clockMs;
}
