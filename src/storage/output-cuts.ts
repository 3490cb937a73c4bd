import type { BelowTable } from "./compaction-plan.ts";
import { compareRanges } from "./cursor.ts";

/** Keys between two looks at where the output stands: the bound is a rough one, and a look costs a comparison. */
const KEYS_PER_LOOK = 16;

/**
 * Says where a merge should end a table because it lies over too much of the level below the output: when it is merged
 * into that level one day, all of that is rewritten with it.
 */
export class OutputCuts {
  readonly #below: readonly BelowTable[];
  readonly #bytesMax: number;
  #index = 0;
  /** Bytes of the tables below that the table that is being written lies over, up to `#index`. */
  #bytes = 0;
  #sinceLook = 0;

  /** `below`: in key order. */
  constructor(below: readonly BelowTable[], bytesMax: number) {
    this.#below = below;
    this.#bytesMax = bytesMax;
  }

  /** Whether the table should end before the key `bytes[start, end)`. To be asked of each new key, in order. */
  cutsBefore(bytes: Uint8Array, start: number, end: number): boolean {
    if (++this.#sinceLook < KEYS_PER_LOOK) return false;
    this.#sinceLook = 0;
    const below = this.#below;
    while (this.#index < below.length) {
      const { largestKey, bytes: length } = below[this.#index]!;
      if (compareRanges(largestKey, 0, largestKey.length, bytes, start, end) >= 0) break;
      this.#bytes += length;
      this.#index++;
    }
    if (this.#bytes <= this.#bytesMax) return false;
    this.#bytes = 0;
    return true;
  }

  /** A table has ended for another reason. */
  ended(): void {
    this.#bytes = 0;
  }
}
