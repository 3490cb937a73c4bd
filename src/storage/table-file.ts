import type { FileHandle } from "../env/env.ts";
import { Block } from "./block.ts";
import type { BlockMemory } from "./block-memory.ts";
import { READ_BUFFER_BYTES, ReadBuffer } from "./read-buffer.ts";
import { corrupt } from "./storage-error.ts";
import {
  BLOCK_TRAILER_BYTES,
  type BlockPointer,
  checkBlock,
  decompressBlock,
  openBlock,
} from "./table-format.ts";

/** Reads the blocks of an open table file. A table never changes, so its length is asked for once. */
export class TableFile {
  readonly handle: FileHandle;
  readonly number: number;
  readonly size: number;
  /** What a block may have at most when it is decompressed: from the table's properties. */
  longestBlock = 0;
  readonly #buffer: ReadBuffer;
  /** What was read ahead: its first `#aheadBytes` bytes, from the offset `#aheadAt` on. */
  #ahead: Uint8Array | undefined;
  #aheadAt = 0;
  #aheadBytes = 0;

  /**
   * `readAhead`: how many bytes are read at once where data blocks are read one after the other, and a block is done with
   * when the next one is read; 0: one block, which is the reader's own. `buffer`: one that other tables may use, too.
   */
  constructor(handle: FileHandle, number: number, readAhead = 0, buffer = new ReadBuffer()) {
    this.handle = handle;
    this.#buffer = buffer;
    this.number = number;
    this.size = handle.size();
    if (readAhead > 0) this.#ahead = new Uint8Array(Math.min(readAhead, this.size));
  }

  /** The block there, checked; owned by the caller. Throws `CORRUPT` or `FileError`. */
  block({ offset, length }: BlockPointer): Uint8Array {
    const { path } = this.handle;
    const total = length + BLOCK_TRAILER_BYTES;
    if (total > READ_BUFFER_BYTES)
      return openBlock(this.bytes(offset, total), this.number, offset, path, this.longestBlock);
    const checked = this.#checkedBlock(offset, length);
    if (checked !== undefined) return checked.slice(0, length);
    return decompressBlock(this.#buffer.view(length), offset, path, this.longestBlock);
  }

  /** The block in the read buffer, with its compression byte behind it; `undefined`: it is there compressed. */
  #checkedBlock(offset: number, length: number): Uint8Array | undefined {
    const buffer = this.#buffer;
    const total = length + BLOCK_TRAILER_BYTES;
    this.#read(buffer.view(total), offset, total);
    const checked = buffer.view(length + 1);
    const checksum = buffer.bigU64(length + 1);
    const compression = checkBlock(checked, checksum, this.number, offset, this.handle.path);
    return compression === "none" ? checked : undefined;
  }

  /** The same, in memory that may have to go back there. */
  blockIn(memory: BlockMemory, pointer: BlockPointer): Block {
    const { offset, length } = pointer;
    const total = length + BLOCK_TRAILER_BYTES;
    if (total > READ_BUFFER_BYTES) return new Block(this.block(pointer));
    const checked = this.#checkedBlock(offset, length);
    if (checked === undefined) {
      const stored = this.#buffer.view(length);
      return new Block(decompressBlock(stored, offset, this.handle.path, this.longestBlock));
    }
    const bytes = memory.take(length + 1);
    bytes.set(checked);
    return new Block(bytes, length);
  }

  /** The same for a data block; with `readAhead` it is borrowed until the next call. */
  dataBlock(pointer: BlockPointer): Uint8Array {
    const { offset } = pointer;
    const length = pointer.length + BLOCK_TRAILER_BYTES;
    const ahead = this.#ahead;
    if (ahead === undefined || length > ahead.length) return this.block(pointer);
    if (offset < this.#aheadAt || offset + length > this.#aheadAt + this.#aheadBytes) {
      this.#aheadAt = offset;
      this.#aheadBytes = this.handle.read(ahead, 0, ahead.length, offset);
      // The file is shorter than it should be: let that be told.
      if (length > this.#aheadBytes) return this.block(pointer);
    }
    const start = offset - this.#aheadAt;
    const bytes = ahead.subarray(start, start + length);
    return openBlock(bytes, this.number, offset, this.handle.path, this.longestBlock);
  }

  /** Owned by the caller. Throws `CORRUPT` if the file ends before, or `FileError`. */
  bytes(offset: number, length: number): Uint8Array {
    this.#checkInside(offset, length);
    const bytes = new Uint8Array(length);
    this.#read(bytes, offset, length);
    return bytes;
  }

  #read(target: Uint8Array, offset: number, length: number): void {
    this.#checkInside(offset, length);
    const found = this.handle.read(target, 0, length, offset);
    if (found !== length)
      throw corrupt(this.handle.path, offset, `${length} bytes should be here, found ${found}`);
  }

  /** Before anything is allocated. */
  #checkInside(offset: number, length: number): void {
    if (offset + length <= this.size) return;
    const what = `${length} bytes should be here, but the file ends at ${this.size}`;
    throw corrupt(this.handle.path, offset, what);
  }
}
