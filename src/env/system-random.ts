import type { Random } from "../lib/prng.ts";

const TWO_TO_32 = 0x1_0000_0000;
const TWO_TO_53 = 2 ** 53;

/** Randomness of the operating system, fetched a few hundred numbers at a time. Can't be replayed. */
export function systemRandom(): Random {
  const pool = new Uint32Array(256);
  let next = pool.length;
  const word = (): number => {
    if (next === pool.length) {
      crypto.getRandomValues(pool);
      next = 0;
    }
    return pool[next++]!;
  };
  return {
    below(bound) {
      // Numbers at or above the last multiple of `bound` would make small results likelier: they are thrown away.
      const limit = TWO_TO_32 - (TWO_TO_32 % bound);
      let value = word();
      while (value >= limit) value = word();
      return value % bound;
    },
    float: () => ((word() >>> 5) * 0x400_0000 + (word() >>> 6)) / TWO_TO_53,
  };
}
