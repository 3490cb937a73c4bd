import { Block } from "./block.ts";
import type { TableFile } from "./table-file.ts";
import { BLOCK_TRAILER_BYTES, type BlockPointer, checkBlock, decompressBlock } from "./table-format.ts";

/** What is read at once: so much at first, twice as much each time, up to the second figure. */
const FIRST_BYTES = 16 * 1024;
const MOST_BYTES = 64 * 1024;

/**
 * The blocks of a table for one scan that reads them one after the other: some are read at once, into memory that serves
 * again and again, and none gets into the cache. A block that is read alone costs a call to the system and memory that
 * the system has to hand out page by page, and the collector to find again: more than all its entries cost to go through.
 */
export class ReadAhead {
  readonly #file: TableFile;
  #now: Stretch | undefined;
  /** What was read before: an entry may be asked for its value when the scan has already moved on by one. */
  #before: Stretch | undefined;
  #bytes = FIRST_BYTES;

  constructor(file: TableFile) {
    this.#file = file;
  }

  /**
   * The block there, checked. Borrowed: valid until the block after the next one is asked for. `backward`: what will be
   * asked for next lies before it. Throws `CORRUPT` or `FileError`.
   */
  block(pointer: BlockPointer, backward: boolean): Block {
    const file = this.#file;
    const { offset, length } = pointer;
    const end = offset + length + BLOCK_TRAILER_BYTES;
    let stretch = this.#now;
    if (stretch === undefined || offset < stretch.start || end > stretch.end) {
      stretch = this.#read(offset, end, backward);
      if (stretch === undefined) return new Block(file.block(pointer));
    }
    const at = offset - stretch.start;
    const checked = stretch.bytes.subarray(at, at + length + 1);
    const { path } = file.handle;
    const checksum = stretch.data.getBigUint64(at + length + 1, true);
    if (checkBlock(checked, checksum, file.number, offset, path) === "none")
      return new Block(checked, length);
    const stored = stretch.bytes.subarray(at, at + length);
    return new Block(decompressBlock(stored, offset, path, file.longestBlock));
  }

  /** Reads the stretch of the file that begins at `offset`, or ends at `end`; `undefined` if the block there can't be had so. */
  #read(offset: number, end: number, backward: boolean): Stretch | undefined {
    const bytes = this.#bytes;
    if (end - offset > bytes) return undefined;
    let stretch = this.#before;
    if (stretch === undefined || stretch.bytes.length < bytes) stretch = new Stretch(bytes);
    this.#before = this.#now;
    this.#now = stretch;
    stretch.read(this.#file, backward ? Math.max(0, end - bytes) : offset, bytes);
    this.#bytes = Math.min(MOST_BYTES, bytes * 2);
    return end <= stretch.end ? stretch : undefined;
  }
}

/** A stretch of a file, in memory that is used again. */
class Stretch {
  readonly bytes: Uint8Array;
  readonly data: DataView;
  start = 0;
  end = 0;

  constructor(capacityBytes: number) {
    this.bytes = new Uint8Array(capacityBytes);
    this.data = new DataView(this.bytes.buffer);
  }

  /** Reads up to `bytes` bytes; nothing if the system refuses, be it for one place that nobody asks for. */
  read({ handle, size }: TableFile, start: number, bytes: number): void {
    this.start = start;
    this.end = start;
    try {
      this.end += handle.read(this.bytes, 0, Math.min(bytes, size - start), start);
    } catch {
      // The block alone is read next, and says what is the matter if it can't be.
    }
  }
}
