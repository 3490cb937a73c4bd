/**
 * What the clients do: mixes of operations over a growing set of numbered keys. A to F are the core workloads of YCSB
 * (Cooper et al., SoCC 2010, §4.2), with its proportions and distributions.
 */
import type { Random } from "../../src/lib/prng.ts";
import { createChooser, type Distribution, type KeyChooser } from "./distribution.ts";

/** What one operation is; a `readModifyWrite` is a read and then a write of the same key, and counts once. */
export type OperationKind = "read" | "staleRead" | "update" | "insert" | "scan" | "readModifyWrite";

/** Where a runner takes its operations from. It has the fields of the operation drawn last: nothing is made for each. */
export interface WorkSource {
  readonly kind: OperationKind;
  readonly key: number;
  /** Entries that a scan asks for. */
  readonly scanLimit: number;
  /** Draws the next operation into the fields; false when there is none left now. */
  next(): boolean;
  /** Tells how an operation went that was drawn before. */
  settled(kind: OperationKind, key: number, succeeded: boolean): void;
}

interface Mix {
  /** Shares of the kinds, which add up to 1. */
  readonly shares: readonly (readonly [OperationKind, number])[];
  readonly distribution: Distribution;
}

const MIXES = {
  put: { shares: [["update", 1]], distribution: "uniform" },
  get: { shares: [["read", 1]], distribution: "uniform" },
  "stale-get": { shares: [["staleRead", 1]], distribution: "uniform" },
  a: { shares: [["read", 0.5], ["update", 0.5]], distribution: "zipfian" }, // biome-ignore format: a table
  b: { shares: [["read", 0.95], ["update", 0.05]], distribution: "zipfian" }, // biome-ignore format: a table
  c: { shares: [["read", 1]], distribution: "zipfian" },
  d: { shares: [["read", 0.95], ["insert", 0.05]], distribution: "latest" }, // biome-ignore format: a table
  e: { shares: [["scan", 0.95], ["insert", 0.05]], distribution: "zipfian" }, // biome-ignore format: a table
  f: { shares: [["read", 0.5], ["readModifyWrite", 0.5]], distribution: "zipfian" }, // biome-ignore format: a table
} as const satisfies Record<string, Mix>;

export type WorkloadName = keyof typeof MIXES;
export const WORKLOADS = Object.keys(MIXES) as readonly WorkloadName[];

/** Longest scan of workload E; lengths are uniform from 1 on. */
export const SCAN_LIMIT_MAX = 100;

/** Draws operations of a named mix. `keys` are taken to exist; `distribution` replaces the mix's own. */
export class Workload implements WorkSource {
  kind: OperationKind = "read";
  key = 0;
  scanLimit = 0;
  readonly #shares: Mix["shares"];
  readonly #keys: KeySpace;
  readonly #chooser: KeyChooser;
  readonly #random: Random;

  constructor(name: WorkloadName, keys: KeySpace, random: Random, distribution?: Distribution) {
    const mix: Mix = MIXES[name];
    this.#shares = mix.shares;
    this.#keys = keys;
    this.#chooser = createChooser(distribution ?? mix.distribution, keys, random);
    this.#random = random;
  }

  next(): boolean {
    this.kind = this.#drawKind();
    this.key = this.kind === "insert" ? this.#keys.allocate() : this.#chooser.next();
    if (this.kind === "scan") this.scanLimit = 1 + this.#random.below(SCAN_LIMIT_MAX);
    return true;
  }

  settled(kind: OperationKind, key: number, _succeeded: boolean): void {
    if (kind === "insert") this.#keys.settled(key);
  }

  #drawKind(): OperationKind {
    const shares = this.#shares;
    if (shares.length === 1) return shares[0]![0];
    return this.#random.float() < shares[0]![1] ? shares[0]![0] : shares[1]![0];
  }
}

/**
 * The keys that exist: those of the beginning and, in order, those inserted since. A key counts as existing once its
 * insert and all before it were answered, so that reads of the latest keys are not early. An insert that failed counts
 * too: reading it may find nothing.
 */
export class KeySpace {
  #next: number;
  #count: number;
  readonly #answered = new Set<number>();

  constructor(count: number) {
    this.#next = count;
    this.#count = count;
  }

  get count(): number {
    return this.#count;
  }

  /** The next new key. */
  allocate(): number {
    return this.#next++;
  }

  /** The insert of `key` was answered. */
  settled(key: number): void {
    this.#answered.add(key);
    while (this.#answered.delete(this.#count)) this.#count++;
  }
}

/** In a row, without one success between: then loading is given up. */
const FAILURES_IN_A_ROW_MAX = 1000;

/** Writes every key once, in order; what fails is written again. */
export class LoadSource implements WorkSource {
  readonly kind = "insert";
  readonly scanLimit = 0;
  key = 0;
  readonly #keys: number;
  readonly #failed: number[] = [];
  #next = 0;
  #failuresInARow = 0;
  #stored = 0;

  constructor(keys: number) {
    this.#keys = keys;
  }

  /** How many keys are known to be stored. */
  get stored(): number {
    return this.#stored;
  }

  next(): boolean {
    if (this.#failuresInARow >= FAILURES_IN_A_ROW_MAX) return false;
    const again = this.#failed.pop();
    if (again === undefined && this.#next >= this.#keys) return false;
    this.key = again ?? this.#next++;
    return true;
  }

  settled(_kind: OperationKind, key: number, succeeded: boolean): void {
    if (succeeded) {
      this.#failuresInARow = 0;
      this.#stored++;
    } else {
      this.#failuresInARow++;
      this.#failed.push(key);
    }
  }
}
