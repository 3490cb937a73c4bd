import type { FileHandle, FileSystem } from "../env/env.ts";
import { Block, BlockCursor } from "./block.ts";
import type { BlockCache, CacheSlot } from "./block-cache.ts";
import { bloomMayContain } from "./bloom.ts";
import { type Cursor, compareEntryKey, type Entry } from "./cursor.ts";
import { readU32, readU64 } from "./fixed-width.ts";
import type { RangeTombstone } from "./range-tombstone.ts";
import { decodeRangeTombstones } from "./range-tombstone-block.ts";
import { corrupt } from "./storage-error.ts";
import {
  BLOCK_POINTER_BYTES,
  BLOCK_TRAILER_BYTES,
  type BlockPointer,
  checkBlock,
  decodeFooter,
  decodeProperties,
  FOOTER_BYTES,
  type TableProperties,
} from "./table-format.ts";

/** A table that is open for reading: its index and filter are in memory, its data blocks come from the cache or the disk. */
export class TableReader {
  readonly path: string;
  readonly properties: TableProperties;
  readonly #file: TableFile;
  readonly #filter: Uint8Array;
  readonly #index: Block;
  readonly #rangeTombstonesAt: BlockPointer;
  #rangeTombstones: readonly RangeTombstone[] | undefined;
  readonly #cache: BlockCache | undefined;
  readonly #cached: (CacheSlot | undefined)[] = [];
  // For `get`, which is synchronous and so never runs twice at a time.
  readonly #indexCursor = new BlockCursor();
  readonly #dataCursor = new BlockCursor();

  private constructor(
    file: TableFile,
    properties: TableProperties,
    filter: Uint8Array,
    index: Block,
    rangeTombstonesAt: BlockPointer,
    cache: BlockCache | undefined,
  ) {
    this.path = file.handle.path;
    this.properties = properties;
    this.#file = file;
    this.#filter = filter;
    this.#index = index;
    this.#rangeTombstonesAt = rangeTombstonesAt;
    this.#cache = cache;
    this.#indexCursor.reset(index);
  }

  /** Opens the table `number` at `path`; throws `CORRUPT` or `FileError`. Without a cache every block is read anew. */
  static open(fs: FileSystem, path: string, number: number, cache?: BlockCache): TableReader {
    const handle = fs.open(path, "read");
    try {
      const size = handle.size();
      if (size < FOOTER_BYTES) throw corrupt(path, 0, `${size} bytes are too few for a table`);
      const file: TableFile = { handle, number, size };
      const footer = decodeFooter(readExactly(file, size - FOOTER_BYTES, FOOTER_BYTES), path, size);
      const properties = decodeProperties(readBlock(file, footer.properties));
      const filter = readBlock(file, footer.filter);
      const index = new Block(readBlock(file, footer.index));
      return new TableReader(file, properties, filter, index, footer.rangeTombstones, cache);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /**
   * The newest entry of `key` that is not above `sequence`, or `undefined`. Borrowed: the next call gives the same object
   * other content; the value's bytes are never overwritten. `hash` is the key's `bloomHash`.
   */
  get(key: Uint8Array, sequence: number, hash: number): Entry | undefined {
    if (!bloomMayContain(this.#filter, hash)) return undefined;
    const index = this.#indexCursor;
    index.seek(key, sequence);
    if (!index.valid) return undefined;
    const data = this.#dataCursor;
    data.reset(this.#blockAt(index));
    data.seek(key, sequence);
    if (!data.valid) return undefined;
    const { entry } = data;
    return compareEntryKey(entry, key) === 0 ? entry : undefined;
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
          : decodeRangeTombstones(readBlock(this.#file, this.#rangeTombstonesAt));
    }
    return this.#rangeTombstones;
  }

  cursor(): Cursor {
    return new TableCursor(this.#index, (index) => this.#blockAt(index));
  }

  close(): void {
    this.#cache?.removeOwner(this.#cached);
    this.#dataCursor.clear();
    this.#file.handle.close();
  }

  /** The data block that an index entry points to. */
  #blockAt(index: BlockCursor): Block {
    const number = index.restartIndex;
    const slot = this.#cached[number];
    if (slot !== undefined) {
      slot.used = true;
      this.#cache!.hits++;
      return slot.block;
    }
    const pointer = readPointer(index);
    const block = new Block(readBlock(this.#file, pointer));
    if (this.#cache !== undefined) {
      this.#cache.misses++;
      this.#cache.add(this.#cached, number, block);
    }
    return block;
  }
}

function readPointer(index: BlockCursor): BlockPointer {
  const { valueBytes, valueStart, valueEnd } = index.entry;
  if (valueEnd - valueStart !== BLOCK_POINTER_BYTES)
    throw new Error("table index: entry is no block pointer");
  return { offset: readU64(valueBytes, valueStart), length: readU32(valueBytes, valueStart + 8) };
}

/** A table never changes, so its length is asked for once. */
interface TableFile {
  readonly handle: FileHandle;
  readonly number: number;
  readonly size: number;
}

function readBlock(file: TableFile, { offset, length }: BlockPointer): Uint8Array {
  return checkBlock(
    readExactly(file, offset, length + BLOCK_TRAILER_BYTES),
    file.number,
    offset,
    file.handle.path,
  );
}

function readExactly({ handle, size }: TableFile, offset: number, length: number): Uint8Array {
  if (offset + length > size) {
    throw corrupt(handle.path, offset, `${length} bytes should be here, but the file ends at ${size}`);
  }
  const bytes = new Uint8Array(length);
  const found = handle.read(bytes, 0, length, offset);
  if (found !== length) throw corrupt(handle.path, offset, `${length} bytes should be here, found ${found}`);
  return bytes;
}

/** All entries of a table: a cursor over the index, and one over the block that it is at. */
class TableCursor implements Cursor {
  valid = false;
  readonly entry: Entry;
  readonly #index = new BlockCursor();
  readonly #data = new BlockCursor();
  readonly #blockAt: (index: BlockCursor) => Block;
  #blockNumber = -1;

  constructor(index: Block, blockAt: (index: BlockCursor) => Block) {
    this.#index.reset(index);
    this.#blockAt = blockAt;
    this.entry = this.#data.entry;
  }

  seekToFirst(): void {
    this.#index.seekToFirst();
    if (this.#load()) this.#data.seekToFirst();
    this.#publish();
  }

  seekToLast(): void {
    this.#index.seekToLast();
    if (this.#load()) this.#data.seekToLast();
    this.#publish();
  }

  seek(key: Uint8Array, sequence: number): void {
    this.#index.seek(key, sequence);
    if (this.#load()) this.#data.seek(key, sequence);
    this.#publish();
  }

  seekBefore(key: Uint8Array): void {
    // The first block whose last key is not below `key` is the last one that can have keys below it.
    this.#index.seek(key, Number.MAX_SAFE_INTEGER);
    if (!this.#index.valid) {
      this.seekToLast();
      return;
    }
    this.#load();
    this.#data.seekBefore(key);
    if (!this.#data.valid) this.#previousBlock();
    this.#publish();
  }

  next(): void {
    this.#data.next();
    if (!this.#data.valid) {
      this.#index.next();
      if (this.#load()) this.#data.seekToFirst();
    }
    this.#publish();
  }

  prev(): void {
    this.#data.prev();
    if (!this.#data.valid) this.#previousBlock();
    this.#publish();
  }

  #previousBlock(): void {
    this.#index.prev();
    if (this.#load()) this.#data.seekToLast();
  }

  /** Takes the block that the index is at; false if it is at none. */
  #load(): boolean {
    if (!this.#index.valid) {
      this.#data.clear();
      this.#blockNumber = -1;
      return false;
    }
    const number = this.#index.restartIndex;
    if (number !== this.#blockNumber) {
      this.#data.reset(this.#blockAt(this.#index));
      this.#blockNumber = number;
    }
    return true;
  }

  #publish(): void {
    this.valid = this.#data.valid;
  }
}
