import type { Entry } from "./cursor.ts";
import { readU64 } from "./fixed-width.ts";
import { EXPIRY_BYTES, OPERATION_HEADER_BYTES, OPERATION_PUT_EXPIRING } from "./write-batch.ts";

/** A node's integers: half a cache line. A node is named by where it begins; 0 is none. */
export const NODE_INTS = 8;
/** Where its key is in the arena. The operation lies there as it came: its header before the key, the value behind it. */
export const KEY_OFFSET = 0;
export const KEY_LENGTH = 1;
/** -1: a tombstone. */
export const VALUE_LENGTH = 2;
export const SEQUENCE_LOW = 3;
export const SEQUENCE_HIGH = 4;
/** The node of the key's next older version. */
export const OLDER = 5;
/** The skip list's: the next node, and where the links of its upper levels are. */
export const NEXT = 6;
export const TOWER = 7;

const TWO_32 = 0x1_0000_0000;

/**
 * The two arrays of a memtable: the arena with the operations' bytes, and the nodes, which say where keys and values lie
 * in it. Both are over shared memory. They are replaced when they grow, so nobody keeps them over an insertion.
 */
export class MemtableNodes {
  nodes: Int32Array;
  arena: Uint8Array;

  constructor(nodes: Int32Array, arena: Uint8Array) {
    this.nodes = nodes;
    this.arena = arena;
  }

  sequence(node: number): number {
    const { nodes } = this;
    return nodes[node + SEQUENCE_HIGH]! * TWO_32 + (nodes[node + SEQUENCE_LOW]! >>> 0);
  }

  /** Whether the node's key is `key[start, end)`. */
  hasKey(node: number, key: Uint8Array, start: number, end: number): boolean {
    const { nodes, arena } = this;
    if (nodes[node + KEY_LENGTH] !== end - start) return false;
    let at = nodes[node + KEY_OFFSET]!;
    for (let i = start; i < end; i++) if (arena[at++] !== key[i]) return false;
    return true;
  }

  /** Whether a node comes before (`key[start, end)`, `sequence`) in the inner order. */
  isBefore(node: number, key: Uint8Array, start: number, end: number, sequence: number): boolean {
    const { nodes, arena } = this;
    const length = nodes[node + KEY_LENGTH]!;
    const keyLength = end - start;
    let a = nodes[node + KEY_OFFSET]!;
    let b = start;
    const common = a + Math.min(length, keyLength);
    while (a < common && arena[a] === key[b]) {
      a++;
      b++;
    }
    if (a < common) return arena[a]! < key[b]!;
    if (length !== keyLength) return length < keyLength;
    return this.sequence(node) > sequence;
  }

  /** Whether node `a` comes before node `b` in the inner order; their keys share `shared` first bytes at least. */
  isNodeBefore(a: number, b: number, shared = 0): boolean {
    const { nodes, arena } = this;
    const aLength = nodes[a + KEY_LENGTH]!;
    const bLength = nodes[b + KEY_LENGTH]!;
    let aAt = nodes[a + KEY_OFFSET]! + shared;
    let bAt = nodes[b + KEY_OFFSET]! + shared;
    const common = aAt - shared + Math.min(aLength, bLength);
    while (aAt < common && arena[aAt] === arena[bAt]) {
      aAt++;
      bAt++;
    }
    if (aAt < common) return arena[aAt]! < arena[bAt]!;
    if (aLength !== bLength) return aLength < bLength;
    return this.sequence(a) > this.sequence(b);
  }

  /** From which time on the node's value is gone; 0: it stays. */
  expiresAt(node: number): number {
    const { nodes, arena } = this;
    const keyStart = nodes[node + KEY_OFFSET]!;
    if (arena[keyStart - OPERATION_HEADER_BYTES] !== OPERATION_PUT_EXPIRING) return 0;
    return readU64(arena, keyStart + nodes[node + KEY_LENGTH]!);
  }

  /** Makes `entry` the node's. */
  read(entry: Entry, node: number): void {
    const { nodes, arena } = this;
    const keyStart = nodes[node + KEY_OFFSET]!;
    const keyEnd = keyStart + nodes[node + KEY_LENGTH]!;
    const valueLength = nodes[node + VALUE_LENGTH]!;
    entry.keyBytes = arena;
    entry.keyStart = keyStart;
    entry.keyEnd = keyEnd;
    entry.sequence = this.sequence(node);
    entry.tombstone = valueLength < 0;
    entry.expiresAt = this.expiresAt(node);
    entry.valueBytes = arena;
    entry.valueEnd = keyEnd + Math.max(valueLength, 0);
    entry.valueStart = entry.expiresAt === 0 ? keyEnd : keyEnd + EXPIRY_BYTES;
  }
}
