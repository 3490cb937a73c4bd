/**
 * What a merge reads: runs of tables, as one sequence in inner order. It goes forward only and from end to end, so it can
 * be quicker than what readers use (`merge-cursor.ts`): a table is open only while it is read, and read a quarter of a
 * megabyte at a time, past the block cache; and of each run's next key six bytes are kept as a number, behind those that
 * all keys share, so that most comparisons are one of numbers.
 */
import type { FileSystem } from "../env/env.ts";
import { type Cursor, compareRanges, type Entry, NO_ENTRY } from "./cursor.ts";
import { filePath } from "./file-names.ts";
import type { RangeTombstone } from "./range-tombstone.ts";
import { TableReader } from "./table-reader.ts";

const READ_AHEAD_BYTES = 256 * 1024;
const PREFIX_BYTES = 6;

export class CompactionInput {
  valid = false;
  /** The entry: an object of the run that it is from, which the next move changes. */
  entry: Entry = NO_ENTRY;
  readonly #runs: readonly Run[];
  /** A binary heap of the runs that are at an entry. */
  readonly #heap: Run[] = [];

  /** `runs`: file numbers of tables that follow each other by key. `sharedBytes`: how many first bytes all keys share. */
  constructor(fs: FileSystem, directory: string, runs: readonly (readonly number[])[], sharedBytes: number) {
    this.#runs = runs.map((numbers) => new Run(fs, directory, numbers, sharedBytes));
  }

  /** Goes to the first entry. Throws `CORRUPT` or `FileError`, as `next` does. */
  start(): void {
    const heap = this.#heap;
    for (const run of this.#runs) {
      run.next();
      if (run.valid) heap.push(run);
    }
    for (let i = (heap.length >> 1) - 1; i >= 0; i--) this.#siftDown(i);
    this.#publish();
  }

  next(): void {
    const heap = this.#heap;
    const top = heap[0]!;
    top.next();
    if (!top.valid) {
      const last = heap.pop()!;
      if (heap.length > 0) heap[0] = last;
    }
    this.#siftDown(0);
    this.#publish();
  }

  /** Closes the tables that are open. */
  close(): void {
    for (const run of this.#runs) run.close();
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    const { length } = heap;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) return;
      if (child + 1 < length && compare(heap[child + 1]!, heap[child]!) < 0) child++;
      if (compare(heap[child]!, heap[at]!) >= 0) return;
      const moved = heap[at]!;
      heap[at] = heap[child]!;
      heap[child] = moved;
      at = child;
    }
  }

  #publish(): void {
    const top = this.#heap[0];
    this.valid = top !== undefined;
    if (top !== undefined) this.entry = top.entry;
  }
}

/** The range tombstones of a table. Throws `CORRUPT` or `FileError`. */
export function readRangeTombstones(
  fs: FileSystem,
  directory: string,
  number: number,
): readonly RangeTombstone[] {
  const reader = TableReader.open(fs, filePath(directory, number, "table"), number);
  try {
    return reader.rangeTombstones();
  } finally {
    reader.close();
  }
}

/** Tables that follow each other, at an entry of one of them. */
class Run {
  valid = false;
  entry: Entry = NO_ENTRY;
  /** Bytes of the entry's key as a number; equal for keys that may or may not differ. */
  prefix = 0;
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #numbers: readonly number[];
  readonly #sharedBytes: number;
  #next = 0;
  #reader: TableReader | undefined;
  #cursor: Cursor | undefined;

  /** At no entry yet. */
  constructor(fs: FileSystem, directory: string, numbers: readonly number[], sharedBytes: number) {
    this.#fs = fs;
    this.#directory = directory;
    this.#numbers = numbers;
    this.#sharedBytes = sharedBytes;
  }

  next(): void {
    let cursor = this.#cursor;
    if (cursor !== undefined) cursor.next();
    // A table may have range tombstones only.
    while (cursor === undefined || !cursor.valid) {
      this.close();
      const number = this.#numbers[this.#next++];
      if (number === undefined) {
        this.valid = false;
        return;
      }
      const path = filePath(this.#directory, number, "table");
      this.#reader = TableReader.open(this.#fs, path, number, undefined, READ_AHEAD_BYTES);
      cursor = this.#reader.cursor();
      this.#cursor = cursor;
      cursor.seekToFirst();
      this.entry = cursor.entry;
    }
    this.valid = true;
    this.prefix = prefixOf(this.entry, this.#sharedBytes);
  }

  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
    this.#cursor = undefined;
  }
}

function prefixOf({ keyBytes, keyStart, keyEnd }: Entry, sharedBytes: number): number {
  const at = keyStart + sharedBytes;
  if (at + PREFIX_BYTES <= keyEnd) {
    const high = (keyBytes[at]! << 16) | (keyBytes[at + 1]! << 8) | keyBytes[at + 2]!;
    const low = (keyBytes[at + 3]! << 16) | (keyBytes[at + 4]! << 8) | keyBytes[at + 5]!;
    return high * 0x100_0000 + low;
  }
  let prefix = 0;
  for (let i = at; i < at + PREFIX_BYTES; i++) prefix = prefix * 256 + (i < keyEnd ? keyBytes[i]! : 0);
  return prefix;
}

/** The inner order of the entries that two runs are at. */
function compare(a: Run, b: Run): number {
  if (a.prefix !== b.prefix) return a.prefix - b.prefix;
  const { entry } = a;
  const other = b.entry;
  const order = compareRanges(
    entry.keyBytes,
    entry.keyStart,
    entry.keyEnd,
    other.keyBytes,
    other.keyStart,
    other.keyEnd,
  );
  return order !== 0 ? order : other.sequence - entry.sequence;
}
