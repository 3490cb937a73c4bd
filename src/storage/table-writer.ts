import type { FileHandle, FileSystem } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { compareBytes } from "../lib/bytes.ts";
import { BlockBuilder } from "./block-builder.ts";
import { bloomHash } from "./bloom.ts";
import { type Entry, NO_BYTES } from "./cursor.ts";
import { filePath } from "./file-names.ts";
import { GrowingBytes } from "./fixed-width.ts";
import { IndexBuilder, PartitionBuilder, shortSeparator } from "./partition.ts";
import type { RangeTombstone } from "./range-tombstone.ts";
import { encodeRangeTombstones } from "./range-tombstone-block.ts";
import {
  appendBlock,
  type BlockPointer,
  type Compression,
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
  /** A partition of the index ends with the data block that makes it this long, filter included, in bytes. */
  readonly partitionBytes: number;
  /** How data blocks are written. */
  readonly compression: Compression;
}

/** A table that was written and synced. Structured-cloneable: background jobs return it. */
export interface WrittenTable extends TableProperties {
  readonly number: number;
  /** Length of the file. */
  readonly bytes: number;
}

const NO_BLOCK: BlockPointer = { offset: 0, length: 0 };

/** Output is gathered to this many bytes before it is written. */
const WRITE_BYTES = 256 * 1024;
/**
 * After so many bytes what was written is synced: a sync of a whole table at its end would make the syncs of the log wait
 * behind it.
 */
const SYNC_BYTES = 4 * 1024 * 1024;

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
  readonly #partition: PartitionBuilder;
  readonly #topIndex = new IndexBuilder();
  readonly #out = new GrowingBytes(WRITE_BYTES + 64 * 1024);
  /** The data block that ended last, and has no index entry yet: for a short separator the next key must be known. */
  #ended: BlockPointer | undefined;
  #written = 0;
  #synced = 0;
  readonly #rangeTombstones: RangeTombstone[] = [];
  #rangeTombstoneBytes = 0;
  #entries = 0;
  #tombstones = 0;
  #expiring = 0;
  #latestExpiry = 0;
  #overwritten = 0;
  #dataBlocks = 0;
  #partitions = 0;
  #rawBytes = 0;
  #longestBlock = 0;
  #smallestSequence = Number.MAX_SAFE_INTEGER;
  #largestSequence = 0;
  #lastSequence = 0;
  #smallestKey = NO_BYTES;

  /** Creates the file; throws `FileError`. */
  constructor(fs: FileSystem, directory: string, number: number, options: TableOptions) {
    this.#fs = fs;
    this.#number = number;
    this.#options = options;
    this.#data = new BlockBuilder(options.restartInterval);
    this.#partition = new PartitionBuilder(options.bloomBitsPerKey);
    this.#handle = fs.open(filePath(directory, number, "table"), "create");
  }

  get entries(): number {
    return this.#entries;
  }

  get rangeTombstones(): number {
    return this.#rangeTombstones.length;
  }

  /** Bytes of the table so far, without what comes at its end. */
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
    const order = this.#entries === 0 ? -1 : this.#data.compareLastKey(keyBytes, keyStart, keyEnd);
    assert(
      order < 0 || (order === 0 && sequence < this.#lastSequence),
      `table ${this.#number}: an entry is not behind the one before`,
    );
    if (this.#ended !== undefined) this.#indexEnded(keyBytes.subarray(keyStart, keyEnd));
    // A key's versions may go on in the next partition, which then has it in its filter too.
    if (order !== 0 || this.#partition.keys === 0)
      this.#partition.addKey(bloomHash(keyBytes, keyStart, keyEnd));
    if (order === 0) this.#overwritten++;
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
    if (this.#ended !== undefined) this.#indexEnded(undefined);
    const topIndexAt = this.#block(this.#topIndex.finish());
    const rangeTombstonesAt =
      rangeTombstones.length > 0 ? this.#block(encodeRangeTombstones(rangeTombstones)) : NO_BLOCK;
    const properties: TableProperties = {
      entries: this.#entries,
      tombstones: this.#tombstones,
      rangeTombstones: rangeTombstones.length,
      expiring: this.#expiring,
      latestExpiry: this.#latestExpiry,
      overwritten: this.#overwritten,
      dataBlocks: this.#dataBlocks,
      partitions: this.#partitions,
      rawBytes: this.#rawBytes,
      longestBlock: this.#longestBlock,
      smallestSequence: this.#smallestSequence,
      largestSequence: this.#largestSequence,
      ...this.#bounds(),
    };
    const propertiesAt = this.#block(encodeProperties(properties));
    this.#out.append(
      encodeFooter({ topIndex: topIndexAt, rangeTombstones: rangeTombstonesAt, properties: propertiesAt }),
    );
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
    let largestKey: Uint8Array | undefined = this.#entries > 0 ? this.#data.lastKey.slice() : undefined;
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

  #endBlock(): void {
    const raw = this.#data.finish();
    this.#rawBytes += raw.length;
    this.#ended = this.#block(raw, this.#options.compression);
    this.#dataBlocks++;
  }

  /** Makes the index entry of the block that ended last, `next` being the key behind it, and may end the partition. */
  #indexEnded(next: Uint8Array | undefined): void {
    const { lastKey } = this.#data;
    const short = next === undefined ? undefined : shortSeparator(lastKey, next);
    // Behind all versions of a key that is not there, or exactly behind the block's last entry.
    const separator = short ?? lastKey;
    const sequence = short === undefined ? this.#lastSequence : 0;
    this.#partition.index.add(separator, sequence, this.#ended!);
    this.#ended = undefined;
    if (next === undefined || this.#partition.byteLength >= this.#options.partitionBytes) {
      this.#topIndex.add(separator, sequence, this.#block(this.#partition.finish()));
      this.#partitions++;
    }
  }

  #block(bytes: Uint8Array, compression: Compression = "none"): BlockPointer {
    if (bytes.length > this.#longestBlock) this.#longestBlock = bytes.length;
    const pointer = appendBlock(this.#out, this.#written, this.#number, bytes, compression);
    if (this.#out.length >= WRITE_BYTES) this.#writeOut();
    return pointer;
  }

  #writeOut(): void {
    this.#handle.write(this.#out.bytes, 0, this.#out.length, this.#written);
    this.#written += this.#out.length;
    this.#out.length = 0;
    if (this.#written - this.#synced < SYNC_BYTES) return;
    this.#handle.syncNow();
    this.#synced = this.#written;
  }
}
