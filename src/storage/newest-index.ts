import { assert } from "../lib/assert.ts";
import { xxh32Of } from "../lib/hash.ts";
import type { MemtableNodes } from "./memtable-nodes.ts";

const SLOTS_MIN = 64;
/** A slot's integers: the key's hash, the node. */
const SLOT_INTS = 2;

/**
 * Finds the newest entry of a key in a memtable in one step: a hash table with open addressing. A slot holds a node and
 * its key's hash, so that other keys' nodes are hardly ever looked at, and is found by the hash's upper bits, so that
 * growing reads the old slots and writes the new ones from one end to the other. Only ever grows, like the memtable.
 */
export class NewestIndex {
  /** As many slots as a power of two, at most five eighths of them in use. A slot whose node is 0 is empty. */
  #slots = new Int32Array(SLOTS_MIN * SLOT_INTS);
  #shift = 32 - Math.log2(SLOTS_MIN);
  #used = 0;

  /** The memory that its keys take, in bytes: about two slots each. */
  get byteLength(): number {
    return this.#used * 2 * SLOT_INTS * 4;
  }

  /** Forgets all keys, and keeps the room for them. */
  clear(): void {
    if (this.#used > 0) this.#slots.fill(0);
    this.#used = 0;
  }

  /** The newest node of `key`, or 0. */
  find(keyed: MemtableNodes, key: Uint8Array): number {
    return this.nodeIn(this.slotOf(keyed, key, 0, key.length, xxh32Of(key, 0, key.length)));
  }

  /** The place of the slot with `key[start, end)`, whose hash is `hash`, or of the one that waits for it. */
  slotOf(keyed: MemtableNodes, key: Uint8Array, start: number, end: number, hash: number): number {
    const slots = this.#slots;
    const signed = hash | 0;
    let slot = (hash >>> this.#shift) * SLOT_INTS;
    for (;;) {
      const node = slots[slot + 1]!;
      if (node === 0 || (slots[slot] === signed && keyed.hasKey(node, key, start, end))) return slot;
      slot += SLOT_INTS;
      if (slot === slots.length) slot = 0;
    }
  }

  /** The node in a slot, or 0. */
  nodeIn(slot: number): number {
    return this.#slots[slot + 1]!;
  }

  /** Puts a node, whose key's hash is `hash`, into its key's slot. There is room: see `reserve`. */
  set(slot: number, hash: number, node: number): void {
    const slots = this.#slots;
    if (slots[slot + 1] === 0) this.#used++;
    slots[slot] = hash;
    slots[slot + 1] = node;
  }

  /** Makes room for so many more keys. */
  reserve(more: number): void {
    const needed = (this.#used + more) * 8;
    let count = this.#slots.length / SLOT_INTS;
    if (needed <= count * 5) return;
    while (needed > count * 5) count *= 2;
    this.#grow(count);
  }

  #grow(count: number): void {
    assert(count <= 2 ** 29, "a memtable has fewer keys than this");
    const old = this.#slots;
    const slots = new Int32Array(count * SLOT_INTS);
    const shift = 32 - Math.log2(count);
    for (let from = 0; from < old.length; from += SLOT_INTS) {
      if (old[from + 1] === 0) continue;
      let to = (old[from]! >>> shift) * SLOT_INTS;
      while (slots[to + 1] !== 0) {
        to += SLOT_INTS;
        if (to === slots.length) to = 0;
      }
      slots[to] = old[from]!;
      slots[to + 1] = old[from + 1]!;
    }
    this.#slots = slots;
    this.#shift = shift;
  }
}
