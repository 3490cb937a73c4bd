import { assert } from "../lib/assert.ts";
import type { Block } from "./block.ts";
import { readU32, readU64 } from "./fixed-width.ts";
import { BLOCK_POINTER_BYTES, type BlockPointer } from "./table-format.ts";

/**
 * A block whose every entry is a restart point and points to another block: the index of a partition, or of a table.
 *
 * A search in the block itself would touch a line of the processor's cache or two at each step. So there is an array with
 * four bytes of each key, behind what all keys begin with; the search is done there, and the block is looked at only for
 * keys that these four bytes do not tell apart.
 */
export class IndexBlock {
  readonly block: Block;
  readonly count: number;
  /** How many bytes all keys begin with. */
  readonly #prefix: number;
  readonly #heads: Uint32Array;

  /** Asserts that the keys lie within the block. */
  constructor(block: Block) {
    this.block = block;
    const count = block.restartCount;
    this.count = count;
    this.#heads = new Uint32Array(count);
    this.#prefix = count === 0 ? 0 : commonPrefix(block, 0, count - 1);
    for (let i = 0; i < count; i++) {
      const start = block.restartKeyAt(i) + this.#prefix;
      this.#heads[i] = head(block.bytes, start, start - this.#prefix + block.restartKeyLength(i));
    }
  }

  /** What it takes in memory beside the block's bytes. */
  get headBytes(): number {
    return this.#heads.length * 4;
  }

  /** The number of the first entry at or after (key, sequence); `count` if there is none. */
  lowerBound(key: Uint8Array, sequence: number): number {
    const { block, count } = this;
    if (count === 0) return 0;
    const prefix = this.#prefix;
    const prefixAt = block.restartKeyAt(0);
    for (let i = 0; i < prefix; i++) {
      // A key that ends within the prefix is before all that have it.
      const difference = i < key.length ? key[i]! - block.bytes[prefixAt + i]! : -1;
      if (difference !== 0) return difference < 0 ? 0 : count;
    }
    const sought = head(key, prefix, key.length);
    const heads = this.#heads;
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (heads[middle]! < sought) low = middle + 1;
      else high = middle;
    }
    if (low === count || heads[low] !== sought) return low;
    // Here are those that begin alike.
    high = low + 1;
    while (high < count && heads[high] === sought) high++;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((block.probe(middle, key, sequence, prefix) & 1) === 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Where the block is that entry `index` points to; asserts that it is a pointer. */
  pointer(index: number): BlockPointer {
    const { block } = this;
    const end = index + 1 < this.count ? block.restart(index + 1) : block.entriesEnd;
    const at = end - BLOCK_POINTER_BYTES;
    assert(at >= 0 && end <= block.entriesEnd, "index block: an entry is too short");
    return { offset: readU64(block.bytes, at), length: readU32(block.bytes, at + 8) };
  }
}

/** The first four of `bytes[start, end)` as a number in the order of the bytes; what is missing counts as zeros. */
function head(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let i = start; i < start + 4; i++) value = value * 256 + (i < end ? bytes[i]! : 0);
  return value;
}

function commonPrefix(block: Block, first: number, second: number): number {
  const a = block.restartKeyAt(first);
  const b = block.restartKeyAt(second);
  const length = Math.min(block.restartKeyLength(first), block.restartKeyLength(second));
  let common = 0;
  while (common < length && block.bytes[a + common] === block.bytes[b + common]) common++;
  return common;
}
