import type { Access } from "./text-command.ts";

const NONE = 0;
const READ_KEY = 1;
const WRITE_KEY = 2;
const READ_MANY = 3;
const WRITE_MANY = 4;

const BUCKETS = 64;

/**
 * Which of a connection's commands may be under way together; see `Access` for the rule. Keys are told apart by a small
 * hash: two keys that share a bucket may make a command wait in vain, and never let one pass that has to wait.
 */
export class Overlap {
  /** By slot: what its command does, and the bucket of its key. */
  readonly #codes: Uint8Array;
  readonly #buckets: Uint8Array;
  /** By bucket: commands on one key that are under way. */
  readonly #readsOf = new Uint16Array(BUCKETS);
  readonly #writesOf = new Uint16Array(BUCKETS);
  /** All under way, and those of them that touch many keys. */
  #reads = 0;
  #writes = 0;
  #readMany = 0;
  #writeMany = 0;

  constructor(slots: number) {
    this.#codes = new Uint8Array(slots);
    this.#buckets = new Uint8Array(slots);
  }

  /** Counts a command as under way in `slot`, or answers false: it has to wait until others have left. */
  enter(slot: number, access: Exclude<Access, "none" | "barrier">, key: Uint8Array): boolean {
    switch (access) {
      case "readKey": {
        const bucket = bucketOf(key);
        if (this.#writeMany > 0 || this.#writesOf[bucket]! > 0) return false;
        this.#readsOf[bucket]!++;
        this.#reads++;
        this.#buckets[slot] = bucket;
        this.#codes[slot] = READ_KEY;
        return true;
      }
      case "writeKey": {
        const bucket = bucketOf(key);
        // A write of many keys may not have been handed over as a whole yet: no write may overtake its rest.
        if (this.#writeMany > 0 || this.#readMany > 0 || this.#readsOf[bucket]! > 0) return false;
        this.#writesOf[bucket]!++;
        this.#writes++;
        this.#buckets[slot] = bucket;
        this.#codes[slot] = WRITE_KEY;
        return true;
      }
      case "readMany":
        if (this.#writes > 0) return false;
        this.#reads++;
        this.#readMany++;
        this.#codes[slot] = READ_MANY;
        return true;
      case "writeMany":
        if (this.#reads > 0 || this.#writeMany > 0) return false;
        this.#writes++;
        this.#writeMany++;
        this.#codes[slot] = WRITE_MANY;
        return true;
    }
  }

  /** The command of `slot` was answered. Nothing happens for one that never entered. */
  leave(slot: number): void {
    switch (this.#codes[slot]) {
      case NONE:
        return;
      case READ_KEY:
        this.#readsOf[this.#buckets[slot]!]!--;
        this.#reads--;
        break;
      case WRITE_KEY:
        this.#writesOf[this.#buckets[slot]!]!--;
        this.#writes--;
        break;
      case READ_MANY:
        this.#reads--;
        this.#readMany--;
        break;
      case WRITE_MANY:
        this.#writes--;
        this.#writeMany--;
        break;
    }
    this.#codes[slot] = NONE;
  }
}

/** Looks at the length and the last four bytes only: that is where keys that are used together differ. */
function bucketOf(key: Uint8Array): number {
  const length = key.length;
  let hash = length;
  for (let i = length > 4 ? length - 4 : 0; i < length; i++) hash = (hash * 31 + key[i]!) | 0;
  return hash & (BUCKETS - 1);
}
