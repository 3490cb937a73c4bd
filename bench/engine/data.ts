import { type Random, seededRandom } from "../../src/lib/prng.ts";

export const KEY_BYTES = 16;
export const VALUE_BYTES = 100;

/** A reused key has this many bytes of number, big-endian; the rest is filled with "0", as db_bench's keys are. */
const NUMBER_BYTES = 8;

/** A key to be filled by a `KeySequence`. One of `KEY_BYTES + 1` bytes lies right behind a stored key, and is stored by nobody. */
export function newKey(length = KEY_BYTES): Uint8Array {
  return new Uint8Array(length).fill(0x30).fill(0, 0, NUMBER_BYTES);
}

/** A seed for each line, so that none repeats another's keys, the same for every engine. */
export function seedOf(seed: number, line: string): number {
  return (Bun.hash.crc32(line) ^ seed) >>> 0;
}

/** Which keys a line works on, one after the other: numbers below `num` in order, or drawn with replacement. */
export class KeySequence {
  readonly #num: number;
  readonly #random: Random | undefined;
  #next = 0;

  private constructor(num: number, random: Random | undefined) {
    this.#num = num;
    this.#random = random;
  }

  static inOrder(num: number): KeySequence {
    return new KeySequence(num, undefined);
  }

  static random(num: number, seed: number): KeySequence {
    return new KeySequence(num, seededRandom(seed));
  }

  nextNumber(): number {
    if (this.#random !== undefined) return this.#random.below(this.#num);
    const number = this.#next++;
    return number % this.#num;
  }

  /** Writes the next number into a key that `newKey` made. */
  nextInto(key: Uint8Array): void {
    const number = this.nextNumber();
    key[4] = number >>> 24;
    key[5] = number >>> 16;
    key[6] = number >>> 8;
    key[7] = number;
  }
}

/**
 * Values of which a compressor would leave half, made as db_bench makes them: pieces of random bytes, each said twice.
 * They are cut before the clock starts, and come round again after 10,000.
 */
export class Values {
  readonly #values: readonly Uint8Array[];
  #next = 0;

  constructor(seed: number) {
    const random = seededRandom(seed);
    this.#values = Array.from({ length: 10_000 }, () => {
      const value = new Uint8Array(VALUE_BYTES);
      const half = VALUE_BYTES / 2;
      for (let i = 0; i < half; i++) value[i] = value[half + i] = random.below(256);
      return value;
    });
  }

  /** Not to be changed. */
  next(): Uint8Array {
    const at = this.#next;
    this.#next = at + 1 === this.#values.length ? 0 : at + 1;
    return this.#values[at]!;
  }
}

/** Which keys a store holds, to check every answer's count against. */
export class KeySet {
  readonly #bits: Uint8Array;
  size = 0;

  constructor(num: number) {
    this.#bits = new Uint8Array((num + 7) >>> 3);
  }

  has(number: number): boolean {
    return (this.#bits[number >>> 3]! & (1 << (number & 7))) !== 0;
  }

  add(number: number): void {
    if (this.has(number)) return;
    this.#bits[number >>> 3]! |= 1 << (number & 7);
    this.size++;
  }

  /** Adds the next `count` keys of a sequence. */
  addAll(keys: KeySequence, count: number): void {
    for (let i = 0; i < count; i++) this.add(keys.nextNumber());
  }

  /** How many of the next `count` keys of a sequence are in the set. */
  countHits(keys: KeySequence, count: number): number {
    let hits = 0;
    for (let i = 0; i < count; i++) if (this.has(keys.nextNumber())) hits++;
    return hits;
  }

  /** How many of the next `count` keys have one in the set that is not below them. */
  countNotAbove(keys: KeySequence, count: number, num: number): number {
    let largest = num - 1;
    while (largest >= 0 && !this.has(largest)) largest--;
    let hits = 0;
    for (let i = 0; i < count; i++) if (keys.nextNumber() <= largest) hits++;
    return hits;
  }
}
