import type { FileHandle } from "../env/env.ts";
import { corrupt } from "./storage-error.ts";
import { BLOCK_TRAILER_BYTES, type BlockPointer, openBlock } from "./table-format.ts";

/** Reads the blocks of an open table file. A table never changes, so its length is asked for once. */
export class TableFile {
  readonly handle: FileHandle;
  readonly number: number;
  readonly size: number;
  /** What a block may have at most when it is decompressed: from the table's properties. */
  longestBlock = 0;

  constructor(handle: FileHandle, number: number) {
    this.handle = handle;
    this.number = number;
    this.size = handle.size();
  }

  /** The block there, checked; owned by the caller. Throws `CORRUPT` or `FileError`. */
  block({ offset, length }: BlockPointer): Uint8Array {
    const bytes = this.bytes(offset, length + BLOCK_TRAILER_BYTES);
    return openBlock(bytes, this.number, offset, this.handle.path, this.longestBlock);
  }

  /** Owned by the caller. Throws `CORRUPT` if the file ends before, or `FileError`. */
  bytes(offset: number, length: number): Uint8Array {
    const { path } = this.handle;
    if (offset + length > this.size)
      throw corrupt(path, offset, `${length} bytes should be here, but the file ends at ${this.size}`);
    const bytes = new Uint8Array(length);
    const found = this.handle.read(bytes, 0, length, offset);
    if (found !== length) throw corrupt(path, offset, `${length} bytes should be here, found ${found}`);
    return bytes;
  }
}
