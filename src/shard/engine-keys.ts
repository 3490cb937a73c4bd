/**
 * Where things lie in a node's engine. A first byte tells kinds of keys apart; numbers are big-endian, so that a shard's
 * keys lie together and in order.
 *
 * | key | value |
 * |---|---|
 * | 00 group(2) | the group's meta: applied index and the state that is not in the key space (sessions, ...) |
 * | 01 shard(2) half(1) key | a value of the shard, in one of the halves of its space (`shard-space.ts`) |
 */
import type { GroupId, ShardId } from "../../protocol/ids.ts";
import { KEY_BYTES_MAX, SHARDS_MAX } from "../../protocol/limits.ts";

const META = 0;
const DATA = 1;
export const DATA_PREFIX_BYTES = 4;

/** Which part of a shard's space: one is in use, the other takes a snapshot. */
export type Half = 0 | 1;

/** What the engine has to take: a key with its prefix, a group's whole state as a value, what groups apply in one turn. */
export const ENGINE_LIMITS = {
  keyBytesMax: DATA_PREFIX_BYTES + KEY_BYTES_MAX,
  valueBytesMax: 512 * 1024 * 1024,
  batchBytesMax: 1024 * 1024 * 1024,
} as const;

export function metaKey(group: GroupId): Uint8Array {
  return Uint8Array.of(META, group >> 8, group & 0xff);
}

/** Keys up to this length have a view of the buffer that is kept. */
const VIEWS_KEY_BYTES_MAX = 128;

/**
 * Builds engine keys in one buffer for all shards of a node, so that no key is allocated and a shard that does nothing
 * takes no memory for it.
 */
export class EngineKeys {
  readonly #scratch = new Uint8Array(DATA_PREFIX_BYTES + KEY_BYTES_MAX);
  /** By shard: the half that is in use. */
  readonly #halves = new Uint8Array(SHARDS_MAX);
  /** By length of the key. */
  readonly #views: readonly Uint8Array[];

  constructor() {
    this.#scratch[0] = DATA;
    this.#views = Array.from({ length: VIEWS_KEY_BYTES_MAX + 1 }, (_, length) => this.#view(length));
  }

  half(shard: ShardId): Half {
    return this.#halves[shard] as Half;
  }

  use(shard: ShardId, half: Half): void {
    this.#halves[shard] = half;
  }

  /** The engine key of a shard's `key`; valid until the next call, whichever shard it is for. */
  of(shard: ShardId, key: Uint8Array): Uint8Array {
    return this.in(shard, this.#halves[shard]!, key);
  }

  /** The same in a half of the caller's choice. */
  in(shard: ShardId, half: number, key: Uint8Array): Uint8Array {
    this.#scratch[1] = shard >> 8;
    this.#scratch[2] = shard & 0xff;
    this.#scratch[3] = half;
    this.#scratch.set(key, DATA_PREFIX_BYTES);
    return this.#views[key.length] ?? this.#view(key.length);
  }

  /** The engine key behind the last one that a shard can have in use; owned by the caller. */
  end(shard: ShardId): Uint8Array {
    return this.span(shard, this.half(shard))[1];
  }

  /** Where a half begins, and where it ends; owned by the caller. */
  span(shard: ShardId, half: Half): readonly [gte: Uint8Array, lt: Uint8Array] {
    const at = (last: number) => Uint8Array.of(DATA, shard >> 8, shard & 0xff, last);
    return [at(half), at(half + 1)];
  }

  #view(keyLength: number): Uint8Array {
    return this.#scratch.subarray(0, DATA_PREFIX_BYTES + keyLength);
  }
}
