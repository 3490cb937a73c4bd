import { assert } from "../lib/assert.ts";
import type { Block } from "./block.ts";
import { readU32, readU64 } from "./fixed-width.ts";
import { keyHead } from "./key-head.ts";
import { BLOCK_POINTER_BYTES, type BlockPointer } from "./table-format.ts";

/** After so many searches the array is made. */
const SEARCHES_WITHOUT_HEADS = 3;

/**
 * A block whose every entry is a restart point and points to another block: the index of a partition, or of a table.
 *
 * A search in the block itself would touch a line of the processor's cache or two at each step. So there is an array with
 * four bytes of each key, behind what all keys begin with; the search is done there, and the block is looked at only for
 * keys that these four bytes do not tell apart. The array is made when the block is searched again and again: to make it
 * takes as long as some searches without it.
 */
export class IndexBlock {
  readonly block: Block;
  readonly count: number;
  /** How many bytes all keys begin with. */
  #prefix = 0;
  /** Where the first key begins, and so what all begin with. */
  #prefixAt = 0;
  #heads: Uint32Array | undefined;
  #searches = 0;

  constructor(block: Block) {
    this.block = block;
    this.count = block.restartCount;
  }

  /** What it may take in memory beside the block's bytes. */
  get headBytes(): number {
    return this.count * 4;
  }

  /** The number of the first entry at or after (key, sequence); `count` if there is none. */
  lowerBound(key: Uint8Array, sequence: number): number {
    if (this.count === 0) return 0;
    if (this.#heads !== undefined) return this.#searchHeads(this.#heads, key, sequence);
    if (++this.#searches === SEARCHES_WITHOUT_HEADS) this.#makeHeads();
    return this.#searchBlock(0, this.count, key, sequence, 0);
  }

  #makeHeads(): void {
    const { block, count } = this;
    const heads = new Uint32Array(count);
    const prefix = commonPrefix(block, 0, count - 1);
    for (let i = 0; i < count; i++) {
      const start = block.restartKeyAt(i);
      heads[i] = keyHead(block.bytes, start + prefix, start + block.restartKeyLength(i));
    }
    this.#prefix = prefix;
    this.#prefixAt = block.restartKeyAt(0);
    this.#heads = heads;
  }

  #searchHeads(heads: Uint32Array, key: Uint8Array, sequence: number): number {
    const { block, count } = this;
    const prefix = this.#prefix;
    const prefixAt = this.#prefixAt;
    for (let i = 0; i < prefix; i++) {
      // A key that ends within the prefix is before all that have it.
      const difference = i < key.length ? key[i]! - block.bytes[prefixAt + i]! : -1;
      if (difference !== 0) return difference < 0 ? 0 : count;
    }
    const sought = keyHead(key, prefix, key.length);
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
    return this.#searchBlock(low, high, key, sequence, prefix);
  }

  /** The same within the entries from `first` up to `end`; `key` and theirs have the first `common` bytes in common. */
  #searchBlock(first: number, end: number, key: Uint8Array, sequence: number, common: number): number {
    const { block } = this;
    let low = first;
    let high = end;
    // What is between two keys that begin like the one sought begins so, too: no need to compare that again.
    let commonLow = common;
    let commonHigh = common;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const found = block.probe(middle, key, sequence, Math.min(commonLow, commonHigh));
      if ((found & 1) === 0) {
        low = middle + 1;
        commonLow = found >>> 1;
      } else {
        high = middle;
        commonHigh = found >>> 1;
      }
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

function commonPrefix(block: Block, first: number, second: number): number {
  const a = block.restartKeyAt(first);
  const b = block.restartKeyAt(second);
  const length = Math.min(block.restartKeyLength(first), block.restartKeyLength(second));
  let common = 0;
  while (common < length && block.bytes[a + common] === block.bytes[b + common]) common++;
  return common;
}
