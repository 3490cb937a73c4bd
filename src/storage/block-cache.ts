import type { Block } from "./block.ts";

/** A cached block's place in the cache. Its owner, a table, keeps it in an array by block number. */
export interface CacheSlot {
  readonly block: Block;
  /** Set on every use, cleared as the hand passes. */
  used: boolean;
  /** Where its owner keeps it. */
  readonly owner: (CacheSlot | undefined)[];
  readonly index: number;
}

/** Bytes of bookkeeping that are counted for each block beside its own. */
const OVERHEAD_BYTES = 128;

/**
 * Which blocks stay in memory: a bound in bytes for all tables together, and CLOCK (Corbató 1968) to choose who goes. A
 * table finds its blocks by number in an array of its own, so that a hit costs no hashing and no list surgery: it sets
 * a flag.
 */
export class BlockCache {
  readonly #capacityBytes: number;
  readonly #slots: CacheSlot[] = [];
  #hand = 0;
  #bytes = 0;
  hits = 0;
  misses = 0;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps `block` as number `index` of `owner`, if it fits at all; others go. */
  add(owner: (CacheSlot | undefined)[], index: number, block: Block): void {
    const size = block.bytes.length + OVERHEAD_BYTES;
    if (size > this.#capacityBytes) return;
    while (this.#bytes + size > this.#capacityBytes) this.#evictOne();
    const slot: CacheSlot = { block, used: false, owner, index };
    owner[index] = slot;
    this.#slots.push(slot);
    this.#bytes += size;
  }

  /** Forgets all blocks of a table. */
  removeOwner(owner: (CacheSlot | undefined)[]): void {
    for (let i = this.#slots.length - 1; i >= 0; i--) {
      if (this.#slots[i]!.owner === owner) this.#removeAt(i);
    }
  }

  #evictOne(): void {
    for (;;) {
      if (this.#hand >= this.#slots.length) this.#hand = 0;
      const slot = this.#slots[this.#hand]!;
      if (!slot.used) {
        this.#removeAt(this.#hand);
        return;
      }
      slot.used = false;
      this.#hand++;
    }
  }

  #removeAt(position: number): void {
    const slot = this.#slots[position]!;
    slot.owner[slot.index] = undefined;
    this.#bytes -= slot.block.bytes.length + OVERHEAD_BYTES;
    const last = this.#slots.pop()!;
    if (last !== slot) this.#slots[position] = last;
  }
}
