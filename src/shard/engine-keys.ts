/**
 * Where things lie in a node's engine. A first byte tells kinds of keys apart; numbers are big-endian, so that a shard's
 * keys lie together and in order.
 *
 * | key | value |
 * |---|---|
 * | 00 group(2) | the group's meta: applied index and the state that is not in the key space (sessions, ...) |
 * | 01 shard(2) half(1) keyspace(1 or 5) key | a value of the shard, in one of the halves of its space (`shard-space.ts`) |
 *
 * A keyspace is one byte, 00 the default one, up to EF; later ones are F0 and a number of four bytes. So no keyspace's prefix
 * begins another one's, each one's keys lie together, and the common ones cost a byte.
 */
import type { GroupId, KeyspaceId, ShardId } from "../../protocol/ids.ts";
import { KEY_BYTES_MAX, SHARDS_MAX } from "../../protocol/limits.ts";
import { prefixEnd } from "../lib/bytes.ts";

const META = 0;
const DATA = 1;
/** What stands before the keyspace: a snapshot has what follows. */
export const DATA_PREFIX_BYTES = 4;
const SHORT_KEYSPACE_MAX = 0xef;
const LONG_KEYSPACE = 0xf0;
const LONG_KEYSPACE_BYTES = 5;
const PREFIX_BYTES_MAX = DATA_PREFIX_BYTES + LONG_KEYSPACE_BYTES;

/** Which part of a shard's space: one is in use, the other takes a snapshot. */
export type Half = 0 | 1;

/** What the engine has to take: a key with its prefix, a group's whole state as a value, what groups apply in one turn. */
export const ENGINE_LIMITS = {
  keyBytesMax: PREFIX_BYTES_MAX + KEY_BYTES_MAX,
  valueBytesMax: 512 * 1024 * 1024,
  batchBytesMax: 1024 * 1024 * 1024,
} as const;

export function metaKey(group: GroupId): Uint8Array {
  return Uint8Array.of(META, group >> 8, group & 0xff);
}

const NO_KEY = new Uint8Array(0);
/** Where all that the engine may have of a shard begins, and where it ends, whichever half it is in. */
export function spanOfShard(shard: ShardId): readonly [gte: Uint8Array, lt: Uint8Array] {
  const at = (half: number) => Uint8Array.of(DATA, shard >> 8, shard & 0xff, half);
  return [at(0), at(2)];
}

/** Keys up to this length have a view of the buffer that is kept. */
const VIEWS_KEY_BYTES_MAX = 128;

/**
 * Builds engine keys in one buffer for all shards of a node, so that no key is allocated and a shard that does nothing
 * takes no memory for it.
 */
export class EngineKeys {
  readonly #scratch = new Uint8Array(PREFIX_BYTES_MAX + KEY_BYTES_MAX);
  /** By shard: the half that is in use. */
  readonly #halves = new Uint8Array(SHARDS_MAX);
  /** By length of what comes behind the half. */
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

  /** The engine key of a shard's `key` in a keyspace; valid until the next call, whichever shard it is for. */
  of(shard: ShardId, keyspace: KeyspaceId | undefined, key: Uint8Array): Uint8Array {
    const scratch = this.#scratch;
    scratch[1] = shard >> 8;
    scratch[2] = shard & 0xff;
    scratch[3] = this.#halves[shard]!;
    if (keyspace === undefined || keyspace <= SHORT_KEYSPACE_MAX) {
      scratch[DATA_PREFIX_BYTES] = keyspace ?? 0;
      scratch.set(key, DATA_PREFIX_BYTES + 1);
      return this.#views[key.length + 1] ?? this.#view(key.length + 1);
    }
    writeLongKeyspace(scratch, keyspace);
    scratch.set(key, PREFIX_BYTES_MAX);
    return this.#view(key.length + LONG_KEYSPACE_BYTES);
  }

  /** The engine key of `tail`, a keyspace and a key as a snapshot has them, in a half of the caller's choice. */
  in(shard: ShardId, half: number, tail: Uint8Array): Uint8Array {
    this.#scratch[1] = shard >> 8;
    this.#scratch[2] = shard & 0xff;
    this.#scratch[3] = half;
    this.#scratch.set(tail, DATA_PREFIX_BYTES);
    return this.#views[tail.length] ?? this.#view(tail.length);
  }

  /** Where the keys of a keyspace begin in the half that is in use, and where they end; owned by the caller. */
  keyspaceSpan(shard: ShardId, keyspace: KeyspaceId | undefined): readonly [gte: Uint8Array, lt: Uint8Array] {
    const gte = this.of(shard, keyspace, NO_KEY).slice();
    // No prefix ends with FF but in its last four bytes, which never are all of it.
    return [gte, prefixEnd(gte)!];
  }

  /** Where a half begins, and where it ends; owned by the caller. */
  span(shard: ShardId, half: Half): readonly [gte: Uint8Array, lt: Uint8Array] {
    const at = (last: number) => Uint8Array.of(DATA, shard >> 8, shard & 0xff, last);
    return [at(half), at(half + 1)];
  }

  #view(tailLength: number): Uint8Array {
    return this.#scratch.subarray(0, DATA_PREFIX_BYTES + tailLength);
  }
}

function writeLongKeyspace(bytes: Uint8Array, keyspace: KeyspaceId): void {
  bytes[DATA_PREFIX_BYTES] = LONG_KEYSPACE;
  for (let i = 0; i < 4; i++) bytes[DATA_PREFIX_BYTES + 1 + i] = keyspace >>> (24 - 8 * i);
}
