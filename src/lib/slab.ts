/**
 * Copies of many small byte strings, cut from few large buffers. Every buffer of its own is an object that the garbage
 * collector has to visit; a hundred thousand of them make its pauses long. A buffer lives as long as any copy in it.
 */
export class Slab {
  readonly #chunkBytes: number;
  #chunk: Uint8Array = new Uint8Array(0);
  #used = 0;

  /** `chunkBytes`: how large the buffers are. What is longer than a quarter of that gets one of its own. */
  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
  }

  /** A copy of `bytes`, owned by the caller. */
  copy(bytes: Uint8Array): Uint8Array {
    const { length } = bytes;
    if (length * 4 > this.#chunkBytes) return new Uint8Array(bytes);
    if (this.#used + length > this.#chunk.length) {
      this.#chunk = new Uint8Array(this.#chunkBytes);
      this.#used = 0;
    }
    const copy = this.#chunk.subarray(this.#used, this.#used + length);
    copy.set(bytes);
    this.#used += length;
    return copy;
  }
}
