import { Block } from "./block.ts";
import { type BlockCache, CacheOwner, type Priority, USES_MAX } from "./block-cache.ts";
import type { IndexBlock } from "./index-block.ts";
import { Partition } from "./partition.ts";
import { ReadAhead } from "./read-ahead.ts";
import type { TableFile } from "./table-file.ts";

/** The partitions and data blocks of an open table, by number, from the cache or from the file. */
export class TableBlocks {
  /** An entry for each partition. */
  readonly topIndex: IndexBlock;
  readonly #file: TableFile;
  readonly #cache: BlockCache | undefined;
  readonly #partitions = new CacheOwner<Partition>();
  /** By partition: its data blocks. */
  readonly #blocks: (CacheOwner<Block> | undefined)[] = [];

  /** Without a cache all is read anew every time. */
  constructor(file: TableFile, topIndex: IndexBlock, cache: BlockCache | undefined) {
    this.#file = file;
    this.topIndex = topIndex;
    this.#cache = cache;
  }

  /** The partition `number`; throws `CORRUPT` or `FileError`. */
  partition(number: number, priority: Priority): Partition {
    const slot = this.#partitions.slots[number];
    if (slot !== undefined) {
      if (slot.uses < USES_MAX) slot.uses++;
      this.#cache!.hits++;
      return slot.value;
    }
    const pointer = this.topIndex.pointer(number);
    const partition = new Partition(this.#file.block(pointer));
    const cache = this.#cache;
    if (cache !== undefined) {
      cache.misses++;
      const id = blockId(this.#file.number, pointer.offset);
      cache.add(this.#partitions, number, partition, partition.byteLength, id, priority);
    }
    return partition;
  }

  /**
   * The data block that is the entry `number` of a partition's index: valid until the next one is asked for, of whatever
   * table, or as long as it is pinned. Throws `CORRUPT` or `FileError`.
   */
  block(partitionNumber: number, partition: Partition, number: number): Block {
    return this.cachedBlock(partitionNumber, number) ?? this.readBlock(partitionNumber, partition, number);
  }

  /** The same block if it is in the cache. */
  cachedBlock(partitionNumber: number, number: number): Block | undefined {
    const owner = this.#blocks[partitionNumber];
    const slot = owner === undefined ? undefined : owner.slots[number];
    if (slot === undefined) return undefined;
    if (slot.uses < USES_MAX) slot.uses++;
    this.#cache!.hits++;
    return slot.value;
  }

  /** The same block if it is not in the cache, which keeps it then. */
  readBlock(partitionNumber: number, partition: Partition, number: number): Block {
    const pointer = partition.index.pointer(number);
    const cache = this.#cache;
    const block =
      cache === undefined
        ? new Block(this.#file.dataBlock(pointer))
        : this.#file.blockIn(cache.memory, pointer);
    if (cache !== undefined) {
      cache.misses++;
      let cached = this.#blocks[partitionNumber];
      if (cached === undefined) {
        cached = new CacheOwner<Block>();
        this.#blocks[partitionNumber] = cached;
      }
      const id = blockId(this.#file.number, pointer.offset);
      cache.add(cached, number, block, block.bytes.length, id, "normal");
    }
    return block;
  }

  /**
   * The same for a long scan: it is read ahead, and not kept. Borrowed: valid until the block after the next one is asked
   * for. `backward`: what will be asked for next lies before it.
   */
  readBlockAhead(partition: Partition, number: number, ahead: ReadAhead, backward: boolean): Block {
    this.#cache!.misses++;
    return ahead.block(partition.index.pointer(number), backward);
  }

  /** For a long scan; `undefined` for tables without a cache, which are always read from end to end. */
  readAhead(): ReadAhead | undefined {
    return this.#cache === undefined ? undefined : new ReadAhead(this.#file);
  }

  /** Takes the table's blocks out of the cache. */
  forget(): void {
    const cache = this.#cache;
    if (cache === undefined) return;
    cache.removeOwner(this.#partitions);
    for (const owner of this.#blocks) if (owner !== undefined) cache.removeOwner(owner);
  }
}

/** 32 bits for a block that are as good as random (the end of MurmurHash3). */
function blockId(fileNumber: number, offset: number): number {
  let id = Math.imul(fileNumber, 0x9e3779b1) ^ offset ^ Math.imul((offset / 0x1_0000_0000) | 0, 0x27d4eb2f);
  id = Math.imul(id ^ (id >>> 16), 0x85ebca6b);
  id = Math.imul(id ^ (id >>> 13), 0xc2b2ae35);
  return (id ^ (id >>> 16)) >>> 0;
}
