import type { ShardId } from "../../protocol/ids.ts";
import { SCAN_BYTES_MAX, SCAN_ENTRIES_MAX } from "../../protocol/limits.ts";
import type { ClientResponse, KeyValue, ReadRequest, Scan } from "../../protocol/messages.ts";
import { unreachable } from "../lib/assert.ts";
import type { Engine } from "../storage/engine.ts";
import { DATA_PREFIX_BYTES, type EngineKeys } from "./engine-keys.ts";

const NOTHING = new Uint8Array(0);

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

  /** The answer to `request`; its bytes may be borrowed from the engine. */
  read(request: ReadRequest, ageMs: number): ClientResponse {
    switch (request.kind) {
      case "get":
        return { kind: "value", value: this.#engine.getSync(this.#keys.of(this.#shard, request.key)), ageMs };
      case "exists":
        return {
          kind: "boolean",
          value: this.#engine.getSync(this.#keys.of(this.#shard, request.key)) !== undefined,
        };
      case "scan":
        return this.#scan(request);
      default:
        return unreachable(request, "a read");
    }
  }

  #scan(request: Scan): ClientResponse {
    const limit = Math.min(request.limit, SCAN_ENTRIES_MAX);
    const gte = this.#keys.of(this.#shard, request.start).slice();
    const lt =
      request.end === undefined
        ? this.#keys.end(this.#shard)
        : this.#keys.of(this.#shard, request.end).slice();
    const entries: KeyValue[] = [];
    let bytes = 0;
    using iterator = this.#engine.iterate({ gte, lt });
    while (iterator.next()) {
      if (entries.length === limit || bytes >= SCAN_BYTES_MAX)
        return { kind: "entries", entries, more: true };
      const key = iterator.key.slice(DATA_PREFIX_BYTES);
      const value = request.keysOnly ? NOTHING : iterator.value.slice();
      bytes += key.length + value.length;
      entries.push({ key, value });
    }
    return { kind: "entries", entries, more: false };
  }
}
