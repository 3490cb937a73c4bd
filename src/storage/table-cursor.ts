import { BlockCursor } from "./block.ts";
import { type Cursor, type Entry, SEQUENCE_MAX } from "./cursor.ts";
import type { Partition } from "./partition.ts";
import type { TableBlocks } from "./table-blocks.ts";

/** All entries of a table: a place in the top index, one in its partition, and a cursor over the block there. */
export class TableCursor implements Cursor {
  valid = false;
  readonly entry: Entry;
  readonly #blocks: TableBlocks;
  readonly #data = new BlockCursor();
  /** -1: none. */
  #partitionNumber = -1;
  #partition: Partition | undefined;
  /** Of the partition's blocks; -1: none. */
  #blockNumber = -1;

  constructor(blocks: TableBlocks) {
    this.#blocks = blocks;
    this.entry = this.#data.entry;
  }

  seekToFirst(): void {
    if (this.#enterPartition(0) && this.#enterBlock(0)) this.#data.seekToFirst();
    this.valid = this.#data.valid;
  }

  seekToLast(): void {
    if (this.#enterPartition(this.#blocks.topIndex.count - 1) && this.#enterLastBlock())
      this.#data.seekToLast();
    this.valid = this.#data.valid;
  }

  seek(key: Uint8Array, sequence: number): void {
    if (this.#enterBlockOf(key, sequence)) {
      this.#data.seek(key, sequence);
      // The block's separator is not before the key, but all its entries are: then the next block's first one follows.
      if (!this.#data.valid) this.#nextBlock();
    }
    this.valid = this.#data.valid;
  }

  seekBefore(key: Uint8Array): void {
    // The first block whose separator is not before `key` is the last one that can have keys below it.
    if (!this.#enterBlockOf(key, SEQUENCE_MAX)) {
      this.seekToLast();
      return;
    }
    this.#data.seekBefore(key);
    if (!this.#data.valid) this.#previousBlock();
    this.valid = this.#data.valid;
  }

  next(): void {
    this.#data.next();
    if (!this.#data.valid) {
      this.#nextBlock();
      this.valid = this.#data.valid;
    }
  }

  prev(): void {
    this.#data.prev();
    if (!this.#data.valid) {
      this.#previousBlock();
      this.valid = this.#data.valid;
    }
  }

  /** Goes to the block that has (key, sequence), or is before it; false if all blocks are before that. */
  #enterBlockOf(key: Uint8Array, sequence: number): boolean {
    const partitionNumber = this.#blocks.topIndex.lowerBound(key, sequence);
    if (!this.#enterPartition(partitionNumber)) return false;
    // The last block's separator is the partition's: there is one.
    return this.#enterBlock(this.#partition!.index.lowerBound(key, sequence));
  }

  #nextBlock(): void {
    if (this.#enterBlock(this.#blockNumber + 1)) this.#data.seekToFirst();
    else if (this.#enterPartition(this.#partitionNumber + 1) && this.#enterBlock(0)) this.#data.seekToFirst();
  }

  #previousBlock(): void {
    if (this.#blockNumber > 0) {
      if (this.#enterBlock(this.#blockNumber - 1)) this.#data.seekToLast();
    } else if (this.#enterPartition(this.#partitionNumber - 1) && this.#enterLastBlock()) {
      this.#data.seekToLast();
    }
  }

  #enterLastBlock(): boolean {
    return this.#enterBlock(this.#partition!.index.count - 1);
  }

  /** False, and nowhere, if there is no such partition. */
  #enterPartition(number: number): boolean {
    if (number < 0 || number >= this.#blocks.topIndex.count) {
      this.#leave();
      return false;
    }
    if (number === this.#partitionNumber) return true;
    this.#leave();
    this.#partition = this.#blocks.partition(number, "normal");
    this.#partitionNumber = number;
    return true;
  }

  /** False if the partition has no such block. */
  #enterBlock(number: number): boolean {
    const partition = this.#partition!;
    if (number < 0 || number >= partition.index.count) return false;
    if (number === this.#blockNumber) return true;
    this.#data.reset(this.#blocks.block(this.#partitionNumber, partition, number));
    this.#blockNumber = number;
    return true;
  }

  /** Is nowhere, and keeps no block in memory. */
  #leave(): void {
    this.#data.clear();
    this.#partition = undefined;
    this.#partitionNumber = -1;
    this.#blockNumber = -1;
  }
}
