import { type Block, BlockCursor } from "./block.ts";
import { type Cursor, type Entry, SEQUENCE_MAX } from "./cursor.ts";
import type { Partition } from "./partition.ts";
import type { ReadAhead } from "./read-ahead.ts";
import type { TableBlocks } from "./table-blocks.ts";

/**
 * When so many blocks were not in the cache, one after the other, it is a long scan. Those until then go into the cache: a
 * range of some thousand entries that is read again and again is found there.
 */
const MISSES_BEFORE_AHEAD = 32;

/** All entries of a table: a place in the top index, one in its partition, and a cursor over the block there. */
export class TableCursor implements Cursor {
  valid = false;
  readonly entry: Entry;
  #blocks: TableBlocks;
  readonly #data = new BlockCursor();
  /** The block that it is in, and the one before: an entry's value may be looked at when the cursor has moved on by one. */
  #block: Block | undefined;
  #before: Block | undefined;
  /** -1: none. */
  #partitionNumber = -1;
  #partition: Partition | undefined;
  /** Of the partition's blocks; -1: none. */
  #blockNumber = -1;
  /** Blocks that were entered from the one beside them since the last search, and were not in the cache. */
  #missed = 0;
  #ahead: ReadAhead | undefined;

  constructor(blocks: TableBlocks) {
    this.#blocks = blocks;
    this.entry = this.#data.entry;
  }

  /** Goes over to another table, after `close`. */
  reopen(blocks: TableBlocks): void {
    this.#blocks = blocks;
    this.#endRow();
  }

  /** Is nowhere, and lets go of the blocks. To be called in the end. */
  close(): void {
    this.#leave();
    this.valid = false;
    if (this.#before !== undefined) this.#before.pins--;
    if (this.#block !== undefined) this.#block.pins--;
    this.#before = undefined;
    this.#block = undefined;
  }

  seekToFirst(): void {
    this.#endRow();
    if (this.#enterPartition(0) && this.#enterBlock(0)) this.#data.seekToFirst();
    this.valid = this.#data.valid;
  }

  seekToLast(): void {
    this.#endRow();
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
    this.#endRow();
    const partitionNumber = this.#blocks.topIndex.lowerBound(key, sequence);
    if (!this.#enterPartition(partitionNumber)) return false;
    // The last block's separator is the partition's: there is one.
    return this.#enterBlock(this.#partition!.index.lowerBound(key, sequence));
  }

  #nextBlock(): void {
    let number = this.#blockNumber + 1;
    if (number === this.#partition!.index.count) {
      if (!this.#enterPartition(this.#partitionNumber + 1)) return;
      number = 0;
    }
    this.#enterBlockBeside(number, false);
    this.#data.seekToFirst();
  }

  #previousBlock(): void {
    let number = this.#blockNumber - 1;
    if (number < 0) {
      if (!this.#enterPartition(this.#partitionNumber - 1)) return;
      number = this.#partition!.index.count - 1;
    }
    this.#enterBlockBeside(number, true);
    this.#data.seekToLast();
  }

  #endRow(): void {
    this.#missed = 0;
    this.#ahead = undefined;
  }

  #enterBlockBeside(number: number, backward: boolean): void {
    const blocks = this.#blocks;
    const partition = this.#partition!;
    let block = blocks.cachedBlock(this.#partitionNumber, number);
    if (block === undefined) {
      this.#missed++;
      if (this.#missed > MISSES_BEFORE_AHEAD) this.#ahead ??= blocks.readAhead();
      block =
        this.#ahead === undefined
          ? blocks.readBlock(this.#partitionNumber, partition, number)
          : blocks.readBlockAhead(partition, number, this.#ahead, backward);
    }
    this.#show(block, number);
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
    this.#show(this.#blocks.block(this.#partitionNumber, partition, number), number);
    return true;
  }

  #show(block: Block, number: number): void {
    if (this.#before !== undefined) this.#before.pins--;
    this.#before = this.#block;
    block.pins++;
    this.#block = block;
    this.#data.reset(block);
    this.#blockNumber = number;
  }

  /** Is nowhere; an entry's value may still be looked at. */
  #leave(): void {
    this.#data.clear();
    this.#partition = undefined;
    this.#partitionNumber = -1;
    this.#blockNumber = -1;
  }
}
