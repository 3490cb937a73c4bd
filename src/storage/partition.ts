/**
 * A partition of a table's index: where some data blocks that follow each other are, and which keys they may have.
 *
 *     partition = index block, bloom filter, u32 length of the index block
 *
 * The index block has an entry for each data block: a separator that is not below the block's last entry and below the
 * next block's first one, and as value u64 offset, u32 length of the block. So an entry (key, sequence) is in the first
 * block whose separator is not before it, or nowhere. The top index of a table has the same form, with an entry for each
 * partition.
 */
import { assert } from "../lib/assert.ts";
import { Block } from "./block.ts";
import { BlockBuilder } from "./block-builder.ts";
import { bloomBytes, bloomMayContain, LINE_BYTES, writeBloom } from "./bloom.ts";
import { Entry } from "./cursor.ts";
import { GrowingBytes, readU32, writeU32, writeU64 } from "./fixed-width.ts";
import { IndexBlock } from "./index-block.ts";
import { BLOCK_POINTER_BYTES, type BlockPointer } from "./table-format.ts";

/** A partition that was read and whose checksum was right. */
export class Partition {
  readonly index: IndexBlock;
  readonly #bytes: Uint8Array;
  readonly #filterStart: number;
  readonly #filterEnd: number;

  /** Owns `bytes` from now on. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#filterEnd = bytes.length - 4;
    assert(this.#filterEnd > 0, "partition: too short");
    this.#filterStart = readU32(bytes, this.#filterEnd);
    const filterBytes = this.#filterEnd - this.#filterStart;
    assert(filterBytes > LINE_BYTES && filterBytes % LINE_BYTES === 1, "partition: no filter of whole lines");
    this.index = new IndexBlock(new Block(bytes, this.#filterStart));
  }

  /** Bytes in memory. */
  get byteLength(): number {
    return this.#bytes.length + this.index.headBytes;
  }

  /** False: no key with this `bloomHash` is in the data blocks. */
  mayContain(hash: number): boolean {
    return bloomMayContain(this.#bytes, this.#filterStart, this.#filterEnd, hash);
  }
}

/** Builds an index block, entry by entry. */
export class IndexBuilder {
  readonly #block = new BlockBuilder(1);
  readonly #entry = new Entry();

  constructor() {
    this.#entry.valueBytes = new Uint8Array(BLOCK_POINTER_BYTES);
    this.#entry.valueEnd = BLOCK_POINTER_BYTES;
  }

  get count(): number {
    return this.#block.count;
  }

  get byteLength(): number {
    return this.#block.byteLength;
  }

  /** Adds a block behind all others. The bytes are copied. */
  add(separator: Uint8Array, sequence: number, { offset, length }: BlockPointer): void {
    const entry = this.#entry;
    entry.keyBytes = separator;
    entry.keyEnd = separator.length;
    entry.sequence = sequence;
    writeU64(entry.valueBytes, 0, offset);
    writeU32(entry.valueBytes, 8, length);
    this.#block.add(entry);
  }

  /** The finished block, borrowed until the next `add`; the builder is empty again. */
  finish(): Uint8Array {
    return this.#block.finish();
  }
}

/** Builds one partition after the other. */
export class PartitionBuilder {
  readonly index = new IndexBuilder();
  readonly #out = new GrowingBytes(8192);
  readonly #bitsPerKey: number;
  #hashes = new Uint32Array(1024);
  #keys = 0;

  constructor(bitsPerKey: number) {
    this.#bitsPerKey = bitsPerKey;
  }

  /** Bytes that the finished partition will have. */
  get byteLength(): number {
    return this.index.byteLength + bloomBytes(this.#keys, this.#bitsPerKey) + 4;
  }

  /** How many keys it has so far. */
  get keys(): number {
    return this.#keys;
  }

  /** Adds a key of the data blocks by its `bloomHash`. */
  addKey(hash: number): void {
    if (this.#keys === this.#hashes.length) {
      const larger = new Uint32Array(this.#keys * 2);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    this.#hashes[this.#keys++] = hash;
  }

  /** The finished partition, borrowed until the next one; the builder is empty again. */
  finish(): Uint8Array {
    const out = this.#out;
    out.length = 0;
    out.append(this.index.finish());
    const filterStart = out.length;
    const filterBytes = bloomBytes(this.#keys, this.#bitsPerKey);
    out.reserve(filterBytes);
    out.bytes.fill(0, filterStart, filterStart + filterBytes);
    writeBloom(out.bytes, filterStart, this.#hashes, this.#keys, this.#bitsPerKey);
    out.length += filterBytes;
    out.u32(filterStart);
    this.#keys = 0;
    return out.view();
  }
}

/** A key above `last` and below `next` that is shorter than `last`; `undefined` if there is none. */
export function shortSeparator(last: Uint8Array, next: Uint8Array): Uint8Array | undefined {
  const common = Math.min(last.length, next.length);
  let at = 0;
  while (at < common && last[at] === next[at]) at++;
  if (at === common) return undefined;
  // One more at that place; or, if that would be `next`, at a later place, since there all is below `next`.
  if (last[at]! + 1 === next[at]! && at + 1 === next.length) at++;
  while (at < last.length && last[at] === 0xff) at++;
  if (at + 1 >= last.length) return undefined;
  const separator = last.slice(0, at + 1);
  separator[at]! += 1;
  return separator;
}
