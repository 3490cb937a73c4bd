/** New chunks are at least this large, so that many small writes behind a full socket share a few of them. */
const CHUNK_BYTES = 64 * 1024;

interface Chunk {
  readonly bytes: Uint8Array;
  start: number;
  end: number;
}

/** Bytes that wait for a socket to take them, first in, first out. Small pieces are gathered into shared chunks. */
export class OutgoingQueue {
  #chunks: Chunk[] = [];
  /** Index of the first chunk that is still in use: cheaper than shifting the array for each one. */
  #head = 0;
  #byteLength = 0;

  get byteLength(): number {
    return this.#byteLength;
  }

  /** Copies `bytes[from, …)` to the end of the queue. */
  push(bytes: Uint8Array, from = 0): void {
    const length = bytes.length - from;
    if (length === 0) return;
    let tail = this.#chunks.at(-1);
    if (tail === undefined || tail.bytes.length - tail.end < length) {
      tail = { bytes: new Uint8Array(Math.max(length, CHUNK_BYTES)), start: 0, end: 0 };
      this.#chunks.push(tail);
    }
    tail.bytes.set(from === 0 ? bytes : bytes.subarray(from), tail.end);
    tail.end += length;
    this.#byteLength += length;
  }

  /** The oldest bytes that lie together, or `undefined` if the queue is empty. Borrowed until `consume`. */
  front(): Uint8Array | undefined {
    const chunk = this.#chunks[this.#head];
    return chunk?.bytes.subarray(chunk.start, chunk.end);
  }

  /** Forgets the first `count` bytes of `front()`. */
  consume(count: number): void {
    const chunk = this.#chunks[this.#head]!;
    chunk.start += count;
    this.#byteLength -= count;
    if (chunk.start < chunk.end) return;
    this.#head += 1;
    if (this.#head === this.#chunks.length) {
      this.clear();
    } else if (this.#head > 64 && this.#head * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
  }

  clear(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#byteLength = 0;
  }
}
