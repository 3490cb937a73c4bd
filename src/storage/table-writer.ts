import type { FileHandle, FileSystem } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { compareBytes } from "../lib/bytes.ts";
import { BlockBuilder } from "./block-builder.ts";
import { bloomHash, buildBloom } from "./bloom.ts";
import { Entry, NO_BYTES } from "./cursor.ts";
import { filePath } from "./file-names.ts";
import { GrowingBytes, writeU32, writeU64 } from "./fixed-width.ts";
import type { RangeTombstone } from "./range-tombstone.ts";
import { encodeRangeTombstones } from "./range-tombstone-block.ts";
import {
  appendBlock,
  BLOCK_POINTER_BYTES,
  type BlockPointer,
  encodeFooter,
  encodeProperties,
  type TableProperties,
} from "./table-format.ts";

/** How tables are written. */
export interface TableOptions {
  /** A data block ends with the entry that makes it this long, in bytes. */
  readonly blockBytes: number;
  /** Entries between two restart points of a data block. */
  readonly restartInterval: number;
  /** Bits of the bloom filter for each key. */
  readonly bloomBitsPerKey: number;
}

/** A table that was written and synced. Structured-cloneable: background jobs return it. */
export interface WrittenTable extends TableProperties {
  readonly number: number;
  /** Length of the file. */
  readonly bytes: number;
}

/** Output is gathered to this many bytes before it is written. */
const WRITE_BYTES = 256 * 1024;

/**
 * Writes one table, entry by entry in inner order. Either `finish` makes it durable (but for its directory entry), or
 * `abandon` removes it.
 */
export class TableWriter {
  readonly #fs: FileSystem;
  readonly #number: number;
  readonly #options: TableOptions;
  readonly #handle: FileHandle;
  readonly #data: BlockBuilder;
  readonly #index = new BlockBuilder(1);
  readonly #out = new GrowingBytes(WRITE_BYTES + 64 * 1024);
  /** The index entry of the block that ended last. */
  readonly #pointer = new Entry();
  #written = 0;
  #hashes = new Uint32Array(1024);
  #keys = 0;
  readonly #rangeTombstones: RangeTombstone[] = [];
  #rangeTombstoneBytes = 0;
  #entries = 0;
  #tombstones = 0;
  #expiring = 0;
  #latestExpiry = 0;
  #dataBlocks = 0;
  #smallestSequence = Number.MAX_SAFE_INTEGER;
  #largestSequence = 0;
  #lastSequence = 0;
  #smallestKey = NO_BYTES;
  #largestKey = NO_BYTES;

  /** Creates the file; throws `FileError`. */
  constructor(fs: FileSystem, directory: string, number: number, options: TableOptions) {
    this.#fs = fs;
    this.#number = number;
    this.#options = options;
    this.#data = new BlockBuilder(options.restartInterval);
    this.#pointer.valueBytes = new Uint8Array(BLOCK_POINTER_BYTES);
    this.#pointer.valueEnd = BLOCK_POINTER_BYTES;
    this.#handle = fs.open(filePath(directory, number, "table"), "create");
  }

  get entries(): number {
    return this.#entries;
  }

  get rangeTombstones(): number {
    return this.#rangeTombstones.length;
  }

  /** Bytes of the table so far, without index, filter and properties. */
  get byteLength(): number {
    return this.#written + this.#out.length + this.#data.byteLength + this.#rangeTombstoneBytes;
  }

  /**
   * Adds a range tombstone, at any time and in any order; `start` is below `end`. The bytes are copied. The table's range
   * of keys and of sequence numbers takes it in.
   */
  addRangeTombstone(start: Uint8Array, end: Uint8Array, sequence: number): void {
    assert(compareBytes(start, end) < 0, `table ${this.#number}: a range tombstone of nothing`);
    this.#rangeTombstones.push({ start: new Uint8Array(start), end: new Uint8Array(end), sequence });
    this.#rangeTombstoneBytes += 16 + start.length + end.length;
    this.#noteSequence(sequence);
  }

  /** Adds an entry behind all others; its bytes are copied. */
  add(entry: Entry): void {
    const { keyBytes, keyStart, keyEnd, sequence } = entry;
    if (this.#data.count === 0 || !this.#data.isLastKey(keyBytes, keyStart, keyEnd)) {
      this.#newKey(keyBytes.subarray(keyStart, keyEnd));
    } else {
      assert(
        sequence < this.#lastSequence,
        `table ${this.#number}: sequence ${sequence} after ${this.#lastSequence}`,
      );
    }
    if (this.#entries === 0) this.#smallestKey = keyBytes.slice(keyStart, keyEnd);
    if (entry.tombstone) {
      this.#tombstones++;
    } else if (entry.expiresAt !== 0) {
      this.#expiring++;
      if (entry.expiresAt > this.#latestExpiry) this.#latestExpiry = entry.expiresAt;
    }
    this.#data.add(entry);
    this.#entries++;
    this.#lastSequence = sequence;
    this.#noteSequence(sequence);
    if (this.#data.byteLength >= this.#options.blockBytes) this.#endBlock();
  }

  /** Writes the rest, syncs and closes the file. The directory is left to the caller to sync. */
  finish(): WrittenTable {
    const rangeTombstones = this.#rangeTombstones;
    assert(this.#entries > 0 || rangeTombstones.length > 0, `table ${this.#number} would be empty`);
    if (this.#data.count > 0) this.#endBlock();
    const filter = this.#block(buildBloom(this.#hashes, this.#keys, this.#options.bloomBitsPerKey));
    const index = this.#block(this.#index.finish());
    const properties: TableProperties = {
      entries: this.#entries,
      tombstones: this.#tombstones,
      rangeTombstones: rangeTombstones.length,
      expiring: this.#expiring,
      latestExpiry: this.#latestExpiry,
      dataBlocks: this.#dataBlocks,
      smallestSequence: this.#smallestSequence,
      largestSequence: this.#largestSequence,
      ...this.#bounds(),
    };
    const range =
      rangeTombstones.length > 0
        ? this.#block(encodeRangeTombstones(rangeTombstones))
        : { offset: 0, length: 0 };
    const propertiesAt = this.#block(encodeProperties(properties));
    this.#out.append(encodeFooter({ filter, index, rangeTombstones: range, properties: propertiesAt }));
    this.#writeOut();
    this.#handle.syncNow();
    this.#handle.close();
    return { ...properties, number: this.#number, bytes: this.#written };
  }

  /** Gives up: the file is closed and removed, as far as the disk lets us. */
  abandon(): void {
    this.#handle.close();
    this.#fs.remove(this.#handle.path);
  }

  #noteSequence(sequence: number): void {
    if (sequence < this.#smallestSequence) this.#smallestSequence = sequence;
    if (sequence > this.#largestSequence) this.#largestSequence = sequence;
  }

  /** The range of keys that the entries and the range tombstones lie in. */
  #bounds(): Pick<TableProperties, "smallestKey" | "largestKey" | "largestKeyIncluded"> {
    let smallestKey: Uint8Array | undefined = this.#entries > 0 ? this.#smallestKey : undefined;
    let largestKey: Uint8Array | undefined = this.#entries > 0 ? this.#largestKey : undefined;
    let largestKeyIncluded = true;
    for (const { start, end } of this.#rangeTombstones) {
      if (smallestKey === undefined || compareBytes(start, smallestKey) < 0) smallestKey = start;
      if (largestKey === undefined || compareBytes(end, largestKey) > 0) {
        largestKey = end;
        largestKeyIncluded = false;
      }
    }
    return { smallestKey: smallestKey!, largestKey: largestKey!, largestKeyIncluded };
  }

  #newKey(key: Uint8Array): void {
    if (this.#keys === this.#hashes.length) {
      const larger = new Uint32Array(this.#keys * 2);
      larger.set(this.#hashes);
      this.#hashes = larger;
    }
    this.#hashes[this.#keys++] = bloomHash(key);
  }

  #endBlock(): void {
    const { lastKey } = this.#data;
    const { offset, length } = this.#block(this.#data.finish());
    const pointer = this.#pointer;
    writeU64(pointer.valueBytes, 0, offset);
    writeU32(pointer.valueBytes, 8, length);
    pointer.keyBytes = lastKey;
    pointer.keyEnd = lastKey.length;
    pointer.sequence = this.#lastSequence;
    this.#index.add(pointer);
    this.#largestKey = lastKey.slice();
    this.#dataBlocks++;
  }

  #block(bytes: Uint8Array): BlockPointer {
    const pointer = appendBlock(this.#out, this.#written, this.#number, bytes);
    if (this.#out.length >= WRITE_BYTES) this.#writeOut();
    return pointer;
  }

  #writeOut(): void {
    this.#handle.write(this.#out.bytes, 0, this.#out.length, this.#written);
    this.#written += this.#out.length;
    this.#out.length = 0;
  }
}
