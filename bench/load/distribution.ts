/**
 * Which key comes next. Real traffic is rarely uniform: a few keys take most of it. The shapes here are those of the
 * Yahoo! Cloud Serving Benchmark (Cooper et al., SoCC 2010, §4): uniform; zipfian, whose hot keys are spread over the
 * whole key space so that they do not all fall into one shard or one block; and latest, where the newest keys are hot.
 */
import { assert } from "../../src/lib/assert.ts";
import type { Random } from "../../src/lib/prng.ts";

export const DISTRIBUTIONS = ["uniform", "zipfian", "latest"] as const;
export type Distribution = (typeof DISTRIBUTIONS)[number];

/** Draws key numbers: whole numbers from 0 up to and excluding the number of keys there are at that moment. */
export interface KeyChooser {
  next(): number;
}

/** How many keys exist now; it may grow between draws, never shrink. At least 1. */
export interface KeyCount {
  readonly count: number;
}

/** The chooser of a distribution. `zipfian` spreads over the keys that exist now; the others see keys that are added. */
export function createChooser(distribution: Distribution, keys: KeyCount, random: Random): KeyChooser {
  assert(keys.count >= 1, `a key can't be chosen among ${keys.count}`);
  switch (distribution) {
    case "uniform":
      return { next: () => random.below(keys.count) };
    case "zipfian":
      return scrambled(new Zipfian(keys.count, random), keys.count);
    case "latest":
      return latest(new Zipfian(keys.count, random), keys);
  }
}

/** The skew of YCSB: the hottest of 100,000 keys takes about 8 % of the requests. */
const THETA = 0.99;

/**
 * Ranks by Zipf's law: rank `r` (from 0) is drawn in proportion to `1 / (r + 1)^0.99`. The method is that of Gray et
 * al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994): constant time a draw, after one sum over all
 * ranks; exact for the first two ranks, a close approximation below.
 */
export class Zipfian {
  readonly #random: Random;
  #count = 0;
  #zeta = 0;
  #eta = 0;

  constructor(count: number, random: Random) {
    this.#random = random;
    this.grow(count);
  }

  /** Makes it draw among `count` ranks from now on; costs time in proportion to those that are new. */
  grow(count: number): void {
    if (count <= this.#count) return;
    for (let rank = this.#count; rank < count; rank++) this.#zeta += (rank + 1) ** -THETA;
    this.#count = count;
    // With up to two ranks this divides by zero; `next` does not come as far as to use it then.
    this.#eta = (1 - (2 / count) ** (1 - THETA)) / (1 - ZETA_OF_TWO / this.#zeta);
  }

  next(): number {
    const drawn = this.#random.float();
    const scaled = drawn * this.#zeta;
    if (scaled < 1) return 0;
    if (scaled < ZETA_OF_TWO || this.#count === 2) return 1;
    const rank = Math.floor(this.#count * (this.#eta * drawn - this.#eta + 1) ** (1 / (1 - THETA)));
    return Math.min(rank, this.#count - 1);
  }
}

const ZETA_OF_TWO = 1 + 2 ** -THETA;

/**
 * Rank to key by `(rank · step + offset) mod count` with a step near the golden section and coprime to the count: each
 * rank has its own key (a hash would let some collide), and neighbours in rank lie far apart, without a table.
 */
function scrambled(ranks: Zipfian, count: number): KeyChooser {
  let step = Math.max(1, Math.floor(count * 0.618_033_988_749_895));
  while (greatestCommonDivisor(step, count) !== 1) step++;
  const offset = Math.floor(count / 3);
  return { next: () => (ranks.next() * step + offset) % count };
}

function latest(ranks: Zipfian, keys: KeyCount): KeyChooser {
  return {
    next: () => {
      const count = keys.count;
      ranks.grow(count);
      return count - 1 - ranks.next();
    },
  };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
