/**
 * Cursors of SCAN. Redis' clients take a cursor for a number of 64 bits, while a scan here goes on after a key: a number
 * has to stand for the key. It holds the shard and a hash of the last key that was given:
 *
 * | bits | what |
 * |---|---|
 * | 10, the highest | the shard |
 * | 53 | the hash of the last key; 0: the shard's beginning, so that 0 is the beginning of all |
 *
 * The node that gave the number out remembers the key. To any other, and to this one after a restart or much later, the
 * number says enough: it goes through the shard's keys up to the one with that hash, and on from there. If that key was
 * deleted meanwhile, the shard is gone through again: keys may come twice, but none that was there throughout is left
 * out, which is all that SCAN promises.
 */
import { xxh64 } from "../lib/hash.ts";

/** Where a scan goes on: after a key of a shard, or at the shard's beginning. */
export interface ScanPlace {
  readonly shard: number;
  readonly after: Uint8Array | undefined;
}
/** The same, of which only the key's hash is known. */
export interface LostPlace {
  readonly shard: number;
  readonly hash: bigint;
}

const HASH_BITS = 53n;
const CURSOR_MAX = 1n << (10n + HASH_BITS);

export class ScanCursors {
  readonly #placesMax: number;
  readonly #bytesMax: number;
  /** The last keys, by cursor, in order of insertion, so that the oldest comes first. */
  readonly #keys = new Map<bigint, Uint8Array>();
  #bytes = 0;

  /** Most keys, and bytes of them, to remember; beyond it the oldest are forgotten first. */
  constructor(placesMax: number, bytesMax = 16 * 1024 * 1024) {
    this.#placesMax = placesMax;
    this.#bytesMax = bytesMax;
  }

  /** The cursor of a place; its key is copied. */
  cursorOf({ shard, after }: ScanPlace): bigint {
    const base = BigInt(shard) << HASH_BITS;
    if (after === undefined) return base;
    const cursor = base + hashOfKey(after);
    // As the newest: another key of the same hash would be found in its place.
    this.#forget(cursor);
    this.#keys.set(cursor, new Uint8Array(after));
    this.#bytes += after.length;
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= this.#placesMax && this.#bytes <= this.#bytesMax) break;
      this.#forget(oldest);
    }
    return cursor;
  }

  /** Which place a cursor stands for; `undefined`: none. It may be asked for more than once: a client may lose a reply. */
  placeOf(cursor: bigint): ScanPlace | LostPlace | undefined {
    if (cursor < 0n || cursor >= CURSOR_MAX) return undefined;
    const shard = Number(cursor >> HASH_BITS);
    const hash = cursor & ((1n << HASH_BITS) - 1n);
    if (hash === 0n) return { shard, after: undefined };
    const after = this.#keys.get(cursor);
    return after === undefined ? { shard, hash } : { shard, after };
  }

  #forget(cursor: bigint): void {
    const key = this.#keys.get(cursor);
    if (key === undefined) return;
    this.#keys.delete(cursor);
    this.#bytes -= key.length;
  }
}

/** From 1 on. */
export function hashOfKey(key: Uint8Array): bigint {
  return xxh64(key) & ((1n << HASH_BITS) - 1n) || 1n;
}
