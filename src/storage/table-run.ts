import type { FileSystem } from "../env/env.ts";
import { compareBytes } from "../lib/bytes.ts";
import type { Entry } from "./cursor.ts";
import { filePath } from "./file-names.ts";
import type { OutputCuts } from "./output-cuts.ts";
import type { RangeDeletes } from "./range-deletes.ts";
import { type TableOptions, TableWriter, type WrittenTable } from "./table-writer.ts";

export interface TableRunOptions {
  readonly directory: string;
  /** File numbers: as many as there may be tables. The last one takes all that is left. */
  readonly numbers: readonly number[];
  /** A table ends before the key after the one that makes it this long, in bytes. */
  readonly tableBytes: number;
  readonly table: TableOptions;
  /** Where a table should end earlier. */
  readonly cuts?: OutputCuts;
}

/**
 * Writes sorted entries and range tombstones as tables that do not overlap. All entries of a key are in one table, and a
 * range tombstone is cut where a table ends: each part says what it says of the keys of its own table only.
 */
export class TableRun {
  readonly #fs: FileSystem;
  readonly #options: TableRunOptions;
  readonly #ranges: RangeDeletes;
  readonly #written: WrittenTable[] = [];
  #writer: TableWriter | undefined;
  /** The range after the one that is open. */
  #nextRange = 0;
  /** Where what is not yet written of the open range begins, and where it ends. */
  #openStart: Uint8Array | undefined;
  #openEnd: Uint8Array | undefined;

  /** `ranges`: the range tombstones to write. */
  constructor(fs: FileSystem, options: TableRunOptions, ranges: RangeDeletes) {
    this.#fs = fs;
    this.#options = options;
    this.#ranges = ranges;
  }

  /** Adds an entry behind all others. `isFirstOfKey`: none with its key was added before. Throws `FileError`. */
  add(entry: Entry, isFirstOfKey: boolean): void {
    if (isFirstOfKey) {
      if (this.#openStart !== undefined || this.#nextRange < this.#ranges.count) {
        this.#rangesUpTo(entry.keyBytes.subarray(entry.keyStart, entry.keyEnd));
      }
      const { keyBytes, keyStart, keyEnd } = entry;
      const early = this.#options.cuts?.cutsBefore(keyBytes, keyStart, keyEnd) === true;
      if (this.#isFull(early)) this.#cut(keyBytes.slice(keyStart, keyEnd));
    }
    this.#currentWriter().add(entry);
  }

  /** Writes the rest. All tables are durable then, but for their directory entries. */
  finish(): WrittenTable[] {
    this.#rangesUpTo(undefined);
    this.#endTable();
    return this.#written;
  }

  /** Gives up: all files are removed, as far as the disk lets us. */
  abandon(): void {
    this.#writer?.abandon();
    for (const { number } of this.#written) {
      this.#fs.remove(filePath(this.#options.directory, number, "table"));
    }
  }

  /** Opens all ranges that begin at or before `key`, one after the other, and writes those that end there. */
  #rangesUpTo(key: Uint8Array | undefined): void {
    const { starts, ends } = this.#ranges;
    for (;;) {
      if (this.#openEnd !== undefined && (key === undefined || compareBytes(this.#openEnd, key) <= 0)) {
        this.#writeOpen(this.#openEnd);
      }
      const start = starts[this.#nextRange];
      if (start === undefined || (key !== undefined && compareBytes(start, key) > 0)) return;
      if (this.#isFull()) this.#cut(start);
      this.#openStart = start;
      this.#openEnd = ends[this.#nextRange++]!;
    }
  }

  #isFull(early = false): boolean {
    const writer = this.#writer;
    return (
      writer !== undefined &&
      (early || writer.byteLength >= this.#options.tableBytes) &&
      this.#written.length + 1 < this.#options.numbers.length
    );
  }

  /** Ends the table before `key`, with which the next one may begin. */
  #cut(key: Uint8Array): void {
    const end = this.#openEnd;
    this.#writeOpen(key);
    this.#endTable();
    if (end === undefined) return;
    // Ranges that end before were written before.
    this.#openStart = key;
    this.#openEnd = end;
  }

  #writeOpen(end: Uint8Array): void {
    const start = this.#openStart;
    if (start === undefined) return;
    // It may have begun right where the table is cut.
    if (compareBytes(start, end) < 0) {
      const writer = this.#currentWriter();
      for (const sequence of this.#ranges.sequences[this.#nextRange - 1]!) {
        writer.addRangeTombstone(start, end, sequence);
      }
    }
    this.#openStart = undefined;
    this.#openEnd = undefined;
  }

  #currentWriter(): TableWriter {
    if (this.#writer === undefined) {
      const { directory, numbers, table } = this.#options;
      this.#writer = new TableWriter(this.#fs, directory, numbers[this.#written.length]!, table);
    }
    return this.#writer;
  }

  #endTable(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    this.#written.push(writer.finish());
    this.#writer = undefined;
    this.#options.cuts?.ended();
  }
}
