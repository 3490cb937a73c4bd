import { assert } from "../lib/assert.ts";

const SLOTS_MIN = 1024;

/** Where a memtable's nodes have their keys: the first two integers of a node are the key's offset and length. */
export interface KeyedNodes {
  readonly nodes: Int32Array;
  readonly arena: Uint8Array;
}

/**
 * Finds the newest entry of a key in a memtable in one step, where the skip list takes one for every level: a hash table
 * with open addressing. A slot holds a node and the hash of its key: so other keys that are met on the way are passed
 * over, and all are put into a larger table, without a look at where they lie, which is far apart. Only ever grows, like
 * the memtable.
 */
export class NewestIndex {
  /** Two integers a slot: a node, 0 if it is empty, and its key's hash. A power of two of slots, at most half full. */
  #slots = new Int32Array(SLOTS_MIN * 2);
  #used = 0;
  /** What `find` was asked for last: the key's hash, and the slot where it is or should be. */
  #hash = 0;
  #slot = 0;

  /** The newest node whose key is `key[start, end)`, or 0. */
  find({ nodes, arena }: KeyedNodes, key: Uint8Array, start: number, end: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    const hash = hashOf(key, start, end);
    this.#hash = hash;
    for (let slot = (hash << 1) & mask; ; slot = (slot + 2) & mask) {
      const node = slots[slot]!;
      if (node === 0 || (slots[slot + 1] === hash && isKeyOf(nodes, arena, node, key, start, end))) {
        this.#slot = slot;
        return node;
      }
    }
  }

  /** Makes `node` the newest of the key that `find` was asked for last. */
  putFound(node: number): void {
    const slots = this.#slots;
    const slot = this.#slot;
    if (slots[slot] === 0) {
      if (++this.#used * 4 > slots.length) {
        this.#grow();
        this.#insert(node, this.#hash);
        return;
      }
      slots[slot + 1] = this.#hash;
    }
    slots[slot] = node;
  }

  #grow(): void {
    const old = this.#slots;
    assert(old.length < 2 ** 30, "a memtable has fewer keys than this");
    this.#slots = new Int32Array(old.length * 4);
    for (let slot = 0; slot < old.length; slot += 2) {
      if (old[slot] !== 0) this.#insert(old[slot]!, old[slot + 1]!);
    }
  }

  /** Puts in a node whose key is not there. */
  #insert(node: number, hash: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = (hash << 1) & mask;
    while (slots[slot] !== 0) slot = (slot + 2) & mask;
    slots[slot] = node;
    slots[slot + 1] = hash;
  }
}

function isKeyOf(
  nodes: Int32Array,
  arena: Uint8Array,
  node: number,
  key: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (nodes[node + 1] !== end - start) return false;
  let at = nodes[node]!;
  for (let i = start; i < end; i++) if (arena[at++] !== key[i]) return false;
  return true;
}

/** FNV-1a (Fowler, Noll, Vo) with a last mix, since the table looks at the low bits. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}
