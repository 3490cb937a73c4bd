/** Buffers come in multiples of this many bytes, so that one that held a block serves for most others. */
const STEP_BYTES = 512;
/** Longer ones are rare, and not kept. */
const STEPS_MAX = 128;

/**
 * The memory of cached blocks: what held a block that has left the cache holds one that comes. Without it every block
 * that is read were garbage soon after, a store that reads at random would make half a gigabyte of it in a second, and
 * the collector would let it pile up to several times the cache.
 */
export class BlockMemory {
  readonly #capacityBytes: number;
  /** By length in steps. */
  readonly #free: Uint8Array[][] = [];
  #bytes = 0;

  /** `capacityBytes`: how much it keeps for later at most. */
  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** Bytes that wait to be used again. */
  get bytes(): number {
    return this.#bytes;
  }

  /** At least `length` bytes of whatever content; the caller's until it gives them back. */
  take(length: number): Uint8Array {
    const steps = Math.ceil(length / STEP_BYTES);
    const free = this.#free[steps];
    const buffer = free === undefined ? undefined : free.pop();
    if (buffer === undefined) return new Uint8Array(steps * STEP_BYTES);
    this.#bytes -= buffer.length;
    return buffer;
  }

  /** Takes a buffer that nobody looks at any more, if it is one that `take` could give. */
  give(buffer: Uint8Array): void {
    const steps = buffer.length / STEP_BYTES;
    if (!Number.isInteger(steps) || steps > STEPS_MAX) return;
    if (this.#bytes + buffer.length > this.#capacityBytes) return;
    while (this.#free.length <= steps) this.#free.push([]);
    this.#free[steps]!.push(buffer);
    this.#bytes += buffer.length;
  }
}
