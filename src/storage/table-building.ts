/**
 * The background jobs of the engine: a memtable becomes a table, and tables are merged. Both walk sorted entries and
 * drop what nobody can see any more.
 */
import type { FileSystem } from "../env/env.ts";
import { compareRanges, type Entry } from "./cursor.ts";
import { syncDirectoryOrFail } from "./durable-directory.ts";
import { filePath } from "./file-names.ts";
import type { KeyRange } from "./key-range.ts";
import { Memtable, type SharedMemtable } from "./memtable.ts";
import { MergeCursor } from "./merge-cursor.ts";
import { TableReader } from "./table-reader.ts";
import { type TableOptions, TableWriter, type WrittenTable } from "./table-writer.ts";

/** Lets other jobs of the same thread run in between. */
export type Pause = () => Promise<void>;

export interface FlushArgument {
  readonly directory: string;
  readonly fileNumber: number;
  readonly memtable: SharedMemtable;
  /** Sequence numbers that somebody still reads at, ascending. */
  readonly snapshots: readonly number[];
  readonly table: TableOptions;
}

export interface CompactArgument {
  readonly directory: string;
  /** File numbers of the tables to merge. */
  readonly inputs: readonly number[];
  /** Ranges below the output level, see `CompactionPlan`. */
  readonly deeper: readonly KeyRange[];
  readonly snapshots: readonly number[];
  /** File numbers for the output, as many as there could be tables. */
  readonly outputs: readonly number[];
  /** A table ends with the key that makes it this long, in bytes. */
  readonly tableBytes: number;
  readonly table: TableOptions;
}

/** Entries between two pauses. */
const PAUSE_ENTRIES = 16_384;

/** Writes a memtable as one table, durable with its directory entry. */
export async function flushMemtable(fs: FileSystem, argument: FlushArgument): Promise<WrittenTable> {
  const cursor = Memtable.attach(argument.memtable).cursor();
  const writer = new TableWriter(fs, argument.directory, argument.fileNumber, argument.table);
  let table: WrittenTable;
  try {
    const visible = new Visibility(argument.snapshots, undefined);
    for (cursor.seekToFirst(); cursor.valid; cursor.next())
      if (visible.keeps(cursor.entry)) writer.add(cursor.entry);
    table = writer.finish();
  } catch (error) {
    writer.abandon();
    throw error;
  }
  syncDirectoryOrFail(fs, argument.directory);
  return table;
}

/** Merges tables into new ones, durable with their directory entries; none if nothing was left. */
export async function compactTables(
  fs: FileSystem,
  argument: CompactArgument,
  pause: Pause,
): Promise<WrittenTable[]> {
  const readers: TableReader[] = [];
  const written: WrittenTable[] = [];
  let writer: TableWriter | undefined;
  try {
    for (const number of argument.inputs) {
      readers.push(TableReader.open(fs, filePath(argument.directory, number, "table"), number));
    }
    const cursor = new MergeCursor(readers.map((reader) => reader.cursor()));
    const visible = new Visibility(argument.snapshots, argument.deeper);
    let sincePause = 0;
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
      if (++sincePause >= PAUSE_ENTRIES) {
        sincePause = 0;
        await pause();
      }
      if (!visible.keeps(cursor.entry)) continue;
      // All versions of a key go into one table, so that within a level a key is in one table only.
      if (writer !== undefined && visible.isNewKey && writer.byteLength >= argument.tableBytes) {
        written.push(writer.finish());
        writer = undefined;
      }
      if (writer === undefined) {
        const number = argument.outputs[written.length];
        if (number === undefined) throw new Error("compaction: more output tables than file numbers");
        writer = new TableWriter(fs, argument.directory, number, argument.table);
      }
      writer.add(cursor.entry);
    }
    if (writer !== undefined) written.push(writer.finish());
    writer = undefined;
  } catch (error) {
    writer?.abandon();
    for (const { number } of written) fs.remove(filePath(argument.directory, number, "table"));
    throw error;
  } finally {
    for (const reader of readers) reader.close();
  }
  syncDirectoryOrFail(fs, argument.directory);
  return written;
}

/**
 * Which entries, met in inner order, somebody may still see. The snapshots cut the sequence numbers into stripes; of the
 * versions of a key in one stripe only the newest is visible to anyone. A tombstone goes when it is in the oldest
 * stripe (all that it hides goes with it) and no deeper table can hold its key.
 */
class Visibility {
  readonly #snapshots: readonly number[];
  readonly #deeper: readonly KeyRange[] | undefined;
  #key = new Uint8Array(256);
  #keyLength = -1;
  #stripe = -1;
  #isNewKey = false;

  /** `deeper` undefined: there may be anything below, so all tombstones stay. */
  constructor(snapshots: readonly number[], deeper: readonly KeyRange[] | undefined) {
    this.#snapshots = snapshots;
    this.#deeper = deeper;
  }

  /** Whether the entry asked about last has another key than the one before. The first entry of a key is the first kept. */
  get isNewKey(): boolean {
    return this.#isNewKey;
  }

  keeps(entry: Entry): boolean {
    const sameKey =
      compareRanges(this.#key, 0, this.#keyLength, entry.keyBytes, entry.keyStart, entry.keyEnd) === 0;
    const stripe = this.#stripeOf(entry.sequence);
    if (sameKey && stripe === this.#stripe) return false;
    if (!sameKey) this.#remember(entry);
    this.#isNewKey = !sameKey;
    this.#stripe = stripe;
    return !(entry.tombstone && stripe === 0 && this.#deeper !== undefined && !this.#isDeeper(entry));
  }

  /** How many snapshots are too old to see `sequence`. */
  #stripeOf(sequence: number): number {
    let stripe = 0;
    while (stripe < this.#snapshots.length && this.#snapshots[stripe]! < sequence) stripe++;
    return stripe;
  }

  #isDeeper({ keyBytes, keyStart, keyEnd }: Entry): boolean {
    for (const { smallestKey, largestKey, largestKeyIncluded } of this.#deeper!) {
      if (compareRanges(keyBytes, keyStart, keyEnd, smallestKey, 0, smallestKey.length) < 0) continue;
      const order = compareRanges(keyBytes, keyStart, keyEnd, largestKey, 0, largestKey.length);
      if (order < 0 || (order === 0 && largestKeyIncluded)) return true;
    }
    return false;
  }

  #remember({ keyBytes, keyStart, keyEnd }: Entry): void {
    const length = keyEnd - keyStart;
    if (length > this.#key.length) this.#key = new Uint8Array(length * 2);
    this.#key.set(keyBytes.subarray(keyStart, keyEnd));
    this.#keyLength = length;
  }
}
