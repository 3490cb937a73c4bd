import { Block } from "./block.ts";
import type { TableFile } from "./table-file.ts";
import { BLOCK_TRAILER_BYTES, type BlockPointer, checkBlock, decompressBlock } from "./table-format.ts";

/** What is read at once. More is no faster, and takes the processor's cache away from what is done with it. */
const STRETCH_BYTES = 64 * 1024;

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
    if (end - offset > STRETCH_BYTES) return undefined;
    const stretch = this.#before ?? new Stretch();
    this.#before = this.#now;
    this.#now = stretch;
    stretch.read(this.#file, backward ? Math.max(0, end - STRETCH_BYTES) : offset);
    return end <= stretch.end ? stretch : undefined;
  }
}

/** A stretch of a file, in memory that is used again. */
class Stretch {
  readonly bytes = new Uint8Array(STRETCH_BYTES);
  readonly data = new DataView(this.bytes.buffer);
  start = 0;
  end = 0;

  /** Reads what there is; nothing if the system refuses, be it for one place that nobody asks for. */
  read({ handle, size }: TableFile, start: number): void {
    this.start = start;
    this.end = start;
    try {
      this.end += handle.read(this.bytes, 0, Math.min(STRETCH_BYTES, size - start), start);
    } catch {
      // The block alone is read next, and says what is the matter if it can't be.
    }
  }
}
