/** How far `ReadBuffer` grows, in bytes. */
export const READ_BUFFER_BYTES = 64 * 1024;

/**
 * Where blocks are read to before they are checked. To make a view of a byte array costs more than one would think, and
 * the first view of an array as much as to read a block into it; so there is one array for all, and a view for each length
 * is made once.
 */
export class ReadBuffer {
  #bytes = new Uint8Array(8192);
  #data = new DataView(this.#bytes.buffer);
  readonly #views = new Map<number, Uint8Array>();

  /**
   * The first `length` bytes, borrowed until the next read; `length` is at most `READ_BUFFER_BYTES`. A longer view than
   * all before has other bytes: ask for the longest first.
   */
  view(length: number): Uint8Array {
    let view = this.#views.get(length);
    if (view === undefined) {
      if (length > this.#bytes.length) this.#grow(length);
      else if (this.#views.size >= 4096) this.#views.clear();
      view = this.#bytes.subarray(0, length);
      this.#views.set(length, view);
    }
    return view;
  }

  #grow(length: number): void {
    let size = this.#bytes.length;
    while (size < length) size *= 2;
    this.#bytes = new Uint8Array(size);
    this.#data = new DataView(this.#bytes.buffer);
    this.#views.clear();
  }

  /** The little-endian u64 at `at`, all 64 bits of it. */
  bigU64(at: number): bigint {
    return this.#data.getBigUint64(at, true);
  }
}
