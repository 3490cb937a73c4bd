/**
 * Which blocks stay in memory: a bound in bytes for all tables together, and S3-FIFO to choose who goes (Yang, Zhang, Qiu,
 * Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023).
 *
 * A new block goes into a small queue, a tenth of the cache. If it is used again while it moves through, it goes on to
 * the main queue, else it leaves, and is remembered for a while: should it come back in that time, it goes to the main
 * queue at once. In the main queue, whoever was used takes another turn. So what a scan reads passes through the small
 * queue, and the blocks that are read again and again stay where they are.
 *
 * A table finds its blocks by number in arrays of its own: a hit costs no hashing and no list surgery, it counts up.
 */
import { Block } from "./block.ts";
import { BlockMemory } from "./block-memory.ts";
import { GhostList } from "./ghost-list.ts";
import { ReadBuffer } from "./read-buffer.ts";

/** Where the cached blocks of one owner are found, by number. */
export class CacheOwner<Value> {
  slots: (CacheSlot<Value> | undefined)[] = [];
  #count = 0;

  /** For the cache. */
  put(slot: CacheSlot<Value>): void {
    this.slots[slot.index] = slot;
    this.#count++;
  }

  /** For the cache. */
  drop(index: number): void {
    this.slots[index] = undefined;
    // What is not cached takes no memory: so all these arrays are bounded by the cache, too.
    if (--this.#count === 0) this.slots = [];
  }
}

/** A cached value's place. */
export class CacheSlot<Value> {
  readonly value: Value;
  readonly bytes: number;
  readonly id: number;
  readonly owner: CacheOwner<Value>;
  readonly index: number;
  /** How often it was used since it came, or since its last turn; up to `USES_MAX`. */
  uses = 0;
  queue: Queue | undefined;
  newer: AnySlot | undefined;
  older: AnySlot | undefined;

  constructor(value: Value, bytes: number, id: number, owner: CacheOwner<Value>, index: number) {
    this.value = value;
    this.bytes = bytes;
    this.id = id;
    this.owner = owner;
    this.index = index;
  }
}

/** A slot of whatever value. */
type AnySlot = CacheSlot<unknown>;

export const USES_MAX = 3;

/** Where a new block begins. */
export type Priority = "normal" | "high";

/** Bytes of bookkeeping that are counted for each block beside its own. */
export const OVERHEAD_BYTES = 200;

export class BlockCache {
  readonly #capacityBytes: number;
  readonly #small = new Queue();
  readonly #main = new Queue();
  readonly #ghosts: GhostList;
  /** For what is read because it is not here. */
  readonly readBuffer = new ReadBuffer();
  /** For data blocks that come. */
  readonly memory: BlockMemory;
  hits = 0;
  misses = 0;

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
    this.memory = new BlockMemory(capacityBytes / 16);
    // Blocks have some kilobytes, and nearly all of them are in the main queue.
    this.#ghosts = new GhostList(Math.min(1 << 20, capacityBytes / 1024));
  }

  get bytes(): number {
    return this.#small.bytes + this.#main.bytes;
  }

  /**
   * Keeps `value` as number `index` of `owner`, if it fits at all; others go. `bytes`: what it takes; `id`: 32 bits as
   * good as random that say which block of which table it is. `high`: it begins in the main queue.
   */
  add<Value>(
    owner: CacheOwner<Value>,
    index: number,
    value: Value,
    bytes: number,
    id: number,
    priority: Priority,
  ): void {
    const size = bytes + OVERHEAD_BYTES;
    if (size > this.#capacityBytes) return;
    while (this.bytes + size > this.#capacityBytes) this.#evict();
    const slot = new CacheSlot(value, size, id, owner, index);
    const known = this.#ghosts.take(id, Math.max(16, this.#main.length));
    (known || priority === "high" ? this.#main : this.#small).push(slot as AnySlot);
    owner.put(slot);
  }

  /** Forgets all blocks of an owner. */
  removeOwner<Value>(owner: CacheOwner<Value>): void {
    for (const slot of owner.slots) if (slot !== undefined) this.#remove(slot as AnySlot);
  }

  #evict(): void {
    if (this.#main.length > 0 && this.#small.bytes <= this.#capacityBytes / 10) this.#evictFromMain();
    else this.#evictFromSmall();
  }

  #evictFromSmall(): void {
    const slot = this.#small.oldest!;
    if (slot.uses > 1) {
      this.#small.remove(slot);
      slot.uses = 0;
      this.#main.push(slot);
    } else {
      this.#remove(slot);
      this.#ghosts.add(slot.id);
    }
  }

  #evictFromMain(): void {
    const slot = this.#main.oldest!;
    if (slot.uses > 0) {
      this.#main.remove(slot);
      slot.uses--;
      this.#main.push(slot);
    } else {
      this.#remove(slot);
    }
  }

  #remove(slot: AnySlot): void {
    slot.queue!.remove(slot);
    slot.owner.drop(slot.index);
    const { value } = slot;
    if (value instanceof Block && value.pins === 0) this.memory.give(value.bytes);
  }
}

/** A queue that anybody can leave. */
class Queue {
  length = 0;
  bytes = 0;
  oldest: AnySlot | undefined;
  #newest: AnySlot | undefined;

  push(slot: AnySlot): void {
    slot.queue = this;
    slot.older = this.#newest;
    if (this.#newest === undefined) this.oldest = slot;
    else this.#newest.newer = slot;
    this.#newest = slot;
    this.length++;
    this.bytes += slot.bytes;
  }

  remove(slot: AnySlot): void {
    if (slot.older === undefined) this.oldest = slot.newer;
    else slot.older.newer = slot.newer;
    if (slot.newer === undefined) this.#newest = slot.older;
    else slot.newer.older = slot.older;
    slot.older = undefined;
    slot.newer = undefined;
    slot.queue = undefined;
    this.length--;
    this.bytes -= slot.bytes;
  }
}
