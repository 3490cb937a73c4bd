import { assert } from "../lib/assert.ts";

const SLOTS_MIN = 1024;

/** Where a memtable's nodes have their keys: the first two integers of a node are the key's offset and length. */
export interface KeyedNodes {
  readonly nodes: Int32Array;
  readonly arena: Uint8Array;
}

/**
 * Finds the newest entry of a key in a memtable in one step, where the skip list takes one for every level: a hash table
 * with open addressing whose slots hold nodes. Keys are not stored again. Only ever grows, like the memtable.
 */
export class NewestIndex {
  /** Nodes; 0 is an empty slot. A power of two long, at most half full. */
  #slots = new Int32Array(SLOTS_MIN);
  #used = 0;

  /** The newest node whose key is `key[start, end)`, or 0. */
  find({ nodes, arena }: KeyedNodes, key: Uint8Array, start: number, end: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = hashOf(key, start, end) & mask; ; slot = (slot + 1) & mask) {
      const node = slots[slot]!;
      if (node === 0 || isKeyOf(nodes, arena, node, key, start, end)) return node;
    }
  }

  /** Makes `node`, whose key lies in the arena, the newest of its key. */
  put(keyed: KeyedNodes, node: number): void {
    if (this.#used * 2 >= this.#slots.length) this.#grow(keyed);
    const { nodes, arena } = keyed;
    const start = nodes[node]!;
    const end = start + nodes[node + 1]!;
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hashOf(arena, start, end) & mask;
    for (let other = slots[slot]!; other !== 0; other = slots[slot]!) {
      if (isKeyOf(nodes, arena, other, arena, start, end)) break;
      slot = (slot + 1) & mask;
    }
    if (slots[slot] === 0) this.#used++;
    slots[slot] = node;
  }

  #grow({ nodes, arena }: KeyedNodes): void {
    const old = this.#slots;
    assert(old.length < 2 ** 30, "a memtable has fewer keys than this");
    const slots = new Int32Array(old.length * 4);
    const mask = slots.length - 1;
    for (const node of old) {
      if (node === 0) continue;
      const start = nodes[node]!;
      let slot = hashOf(arena, start, start + nodes[node + 1]!) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = node;
    }
    this.#slots = slots;
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
  return (hash ^ (hash >>> 13)) >>> 0;
}
