import type { FileSystem } from "../env/env.ts";
import { Block, BlockCursor } from "./block.ts";
import type { BlockCache } from "./block-cache.ts";
import { compareEntryKey, type Entry, SEQUENCE_MAX } from "./cursor.ts";
import { IndexBlock } from "./index-block.ts";
import type { RangeTombstone } from "./range-tombstone.ts";
import { decodeRangeTombstones } from "./range-tombstone-block.ts";
import { corrupt } from "./storage-error.ts";
import { TableBlocks } from "./table-blocks.ts";
import { TableCursor } from "./table-cursor.ts";
import { TableFile } from "./table-file.ts";
import {
  type BlockPointer,
  decodeFooter,
  decodeProperties,
  FOOTER_BYTES,
  type TableProperties,
} from "./table-format.ts";

/** A table that is open for reading: its top index is in memory, all else comes from the cache or the disk. */
export class TableReader {
  readonly path: string;
  readonly properties: TableProperties;
  readonly #file: TableFile;
  readonly #blocks: TableBlocks;
  readonly #rangeTombstonesAt: BlockPointer;
  #rangeTombstones: readonly RangeTombstone[] | undefined;
  // For `get`, which is synchronous and so never runs twice at a time.
  readonly #data = new BlockCursor();

  private constructor(
    file: TableFile,
    properties: TableProperties,
    blocks: TableBlocks,
    rangeTombstonesAt: BlockPointer,
  ) {
    this.path = file.handle.path;
    this.properties = properties;
    this.#file = file;
    this.#blocks = blocks;
    this.#rangeTombstonesAt = rangeTombstonesAt;
  }

  /**
   * Opens the table `number` at `path`; throws `CORRUPT` or `FileError`. Without a cache every block is read anew;
   * `readAhead` is for readers that go from end to end, see `TableFile`.
   */
  static open(fs: FileSystem, path: string, number: number, cache?: BlockCache, readAhead = 0): TableReader {
    const handle = fs.open(path, "read");
    try {
      const file = new TableFile(handle, number, readAhead, cache?.readBuffer);
      if (file.size < FOOTER_BYTES) throw corrupt(path, 0, `${file.size} bytes are too few for a table`);
      const footer = decodeFooter(file.bytes(file.size - FOOTER_BYTES, FOOTER_BYTES), path, file.size);
      const properties = decodeProperties(file.block(footer.properties));
      file.longestBlock = properties.longestBlock;
      const blocks = new TableBlocks(file, new IndexBlock(new Block(file.block(footer.topIndex))), cache);
      return new TableReader(file, properties, blocks, footer.rangeTombstones);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /**
   * The newest entry of `key` that is not above `sequence`, or `undefined`. Borrowed: the next call gives the same object
   * other content, and the next block that anybody reads may take the place of the value. `hash` is the key's `bloomHash`.
   */
  get(key: Uint8Array, sequence: number, hash: number): Entry | undefined {
    const blocks = this.#blocks;
    const { topIndex } = blocks;
    const partitionNumber = topIndex.lowerBound(key, sequence);
    if (partitionNumber === topIndex.count) return undefined;
    const partition = blocks.partition(partitionNumber, "high");
    if (!partition.mayContain(hash)) return undefined;
    const blockNumber = partition.index.lowerBound(key, sequence);
    const data = this.#data;
    data.reset(blocks.block(partitionNumber, partition, blockNumber));
    data.seek(key, sequence);
    if (!data.valid) return undefined;
    const { entry } = data;
    return compareEntryKey(entry, key) === 0 ? entry : undefined;
  }

  /** What the bloom filter says of `key`; `hash` is its `bloomHash`. */
  mayContain(key: Uint8Array, hash: number): boolean {
    const number = this.#blocks.topIndex.lowerBound(key, SEQUENCE_MAX);
    return number < this.#blocks.topIndex.count && this.#blocks.partition(number, "high").mayContain(hash);
  }

  /**
   * The table's range tombstones, in no particular order; borrowed. Read when first asked for, then kept. Throws
   * `CORRUPT` or `FileError`.
   */
  rangeTombstones(): readonly RangeTombstone[] {
    if (this.#rangeTombstones === undefined) {
      this.#rangeTombstones =
        this.#rangeTombstonesAt.length === 0
          ? []
          : decodeRangeTombstones(this.#file.block(this.#rangeTombstonesAt));
    }
    return this.#rangeTombstones;
  }

  /** `closed`: one that is not needed any more, to be used again. */
  cursor(closed?: TableCursor): TableCursor {
    if (closed === undefined) return new TableCursor(this.#blocks);
    closed.reopen(this.#blocks);
    return closed;
  }

  close(): void {
    this.#blocks.forget();
    this.#data.clear();
    this.#file.handle.close();
  }
}
