import type { KeySequence, Values } from "./data.ts";

/** Sizes that both engines are given. `undefined` is the engine's own default. */
export interface ContenderOptions {
  readonly blockCacheBytes: number;
  readonly memtableBytes: number | undefined;
}

/**
 * An engine under measurement. Each method is one line's whole loop, so that every engine does it in the way that is
 * fastest for its user; keys and values come from outside, so that all do the same work. The methods that read return
 * how many entries they found, and touch each one's key and value.
 */
export interface Contender {
  /** For each line's loop, the calls that it makes. */
  readonly api: Readonly<Record<ContenderLoop, string>>;
  /** Unsynced writes of one entry each, as many in flight as serve the engine best. */
  put(keys: KeySequence, values: Values, count: number): Promise<void>;
  /** Unsynced writes of one entry each, the next after the last has resolved. */
  putAwaited(keys: KeySequence, values: Values, count: number): Promise<void>;
  /** Unsynced atomic batches of `BATCH_ENTRIES`. */
  putBatches(keys: KeySequence, values: Values, count: number): Promise<void>;
  /** Synced writes of one entry each: `writers` at a time, each waits for its own. */
  putSynced(keys: KeySequence, values: Values, count: number, writers: number): Promise<void>;
  /** `key` is one that `newKey` made. */
  get(keys: KeySequence, key: Uint8Array, count: number): Promise<number>;
  /** From the first key on, or backwards from the last, `limit` entries at most. */
  scan(limit: number, reverse: boolean): Promise<number>;
  /** Finds the first entry that is not below a key, and reads it. */
  seek(keys: KeySequence, count: number): Promise<number>;
  /**
   * `get`, and an unsynced write for every `READS_PER_WRITE` reads meanwhile. The reader does not wait for them, unless
   * `WRITES_BESIDE_READS` have begun since it last did.
   */
  getWhileWriting(keys: KeySequence, written: KeySequence, values: Values, count: number): Promise<number>;
  close(): Promise<void>;
}

export type ContenderLoop =
  | "put"
  | "putAwaited"
  | "putBatches"
  | "putSynced"
  | "get"
  | "scan"
  | "seek"
  | "getWhileWriting";

export const BATCH_ENTRIES = 1000;
export const READS_PER_WRITE = 10;
export const WRITES_BESIDE_READS = 1000;
/** Reads in `getWhileWriting` between two turns of the event loop, without which no write would come to its end. */
export const READS_PER_TURN = 200;

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
