/** A source of randomness that can be replayed: everything random in Flotilla comes through one of these. */
export interface Random {
  /** A whole number from 0 up to and excluding `bound` (1 ≤ bound ≤ 2^32). */
  below(bound: number): number;
  /** A number from 0 up to and excluding 1. */
  float(): number;
}

/**
 * A small seeded generator (sfc32 state, splitmix-like seeding): the same seed gives the same sequence on every machine.
 * For tests, the load generator and the simulator; not for secrets.
 */
export function seededRandom(seed: number): Random {
  let a = seed >>> 0;
  let b = (seed ^ 0x9e3779b9) >>> 0;
  let c = (seed ^ 0x85ebca6b) >>> 0;
  let counter = 1;
  const next = (): number => {
    const sum = (((a + b) >>> 0) + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + sum) >>> 0;
    return sum;
  };
  // The first outputs still resemble the seed: they are thrown away.
  for (let i = 0; i < 15; i++) next();
  return {
    below: (bound) => Math.floor((next() / 0x1_0000_0000) * bound),
    float: () => next() / 0x1_0000_0000,
  };
}
