/**
 * The background jobs of the engine: a memtable becomes a table, and tables are merged. Both walk sorted entries, drop
 * what nobody can see any more (`visibility.ts`), and write the rest (`table-run.ts`).
 */
import type { FileSystem } from "../env/env.ts";
import { CompactionInput, readRangeTombstones } from "./compaction-input.ts";
import type { BelowTable } from "./compaction-plan.ts";
import { checkStop } from "./job-stop.ts";
import type { KeyRange } from "./key-range.ts";
import { Memtable, type SharedMemtable } from "./memtable.ts";
import { OutputCuts } from "./output-cuts.ts";
import { mergeRangeDeletes, RangeDeletes, type StillRead } from "./range-deletes.ts";
import { TableRun } from "./table-run.ts";
import type { TableOptions, WrittenTable } from "./table-writer.ts";
import { Stripes, Visibility } from "./visibility.ts";

/** Lets other jobs of the same thread run in between. */
export type Pause = () => Promise<void>;

export interface FlushArgument {
  readonly directory: string;
  readonly fileNumber: number;
  readonly memtable: SharedMemtable;
  /** Sequence numbers that somebody still reads at, ascending. */
  readonly snapshots: readonly number[];
  /** The store's time, in milliseconds: no reader is before it. */
  readonly now: number;
  readonly table: TableOptions;
}

export interface CompactArgument {
  readonly directory: string;
  /** File numbers of the tables to merge, as runs: the tables of one follow each other by key. */
  readonly inputs: readonly (readonly number[])[];
  /** Those that have range tombstones. */
  readonly deleting: readonly number[];
  /** How many first bytes all their keys share. */
  readonly sharedBytes: number;
  /** Ranges below the output level, see `CompactionPlan`. */
  readonly deeper: readonly KeyRange[];
  /** Tables below the output level, and over how many bytes of them an output table may lie. */
  readonly below: readonly BelowTable[];
  readonly belowBytesMax: number;
  readonly snapshots: readonly number[];
  /** The store's time, in milliseconds: no reader is before it. */
  readonly now: number;
  /** File numbers for the output, as many as there could be tables: the last one takes all that is left. */
  readonly outputs: readonly number[];
  /** A table ends with the key that makes it this long, in bytes. */
  readonly tableBytes: number;
  readonly table: TableOptions;
  /** In shared memory: see `checkStop`. */
  readonly stop: Int32Array;
}

/**
 * Entries between two pauses, of a compaction and of a flush. Where both run they share the thread by it: if the flush went
 * first altogether, a fill that keeps flushes coming would let level 0 grow until writers have to wait.
 */
const PAUSE_ENTRIES = 16_384;
const FLUSH_PAUSE_ENTRIES = 32_768;

/** Writes a memtable as one table, durable but for its directory entry. */
export async function flushMemtable(
  fs: FileSystem,
  argument: FlushArgument,
  pause: Pause,
): Promise<WrittenTable> {
  const { directory, fileNumber, now, table } = argument;
  const memtable = Memtable.attach(argument.memtable);
  const stripes = new Stripes(argument.snapshots);
  const rangeDeletes = mergeRangeDeletes(memtable.rangeDeletes, stillRead(stripes));
  const visible = new Visibility(stripes, now, rangeDeletes, undefined);
  const options = { directory, numbers: [fileNumber], tableBytes: Number.POSITIVE_INFINITY, table };
  const run = new TableRun(fs, options, visible.keptRangeDeletes());
  const cursor = memtable.cursor();
  let written: WrittenTable[];
  try {
    let sincePause = 0;
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
      if (++sincePause >= FLUSH_PAUSE_ENTRIES) {
        sincePause = 0;
        await pause();
      }
      if (visible.keeps(cursor.entry)) run.add(cursor.entry, visible.isFirstOfKey);
    }
    written = run.finish();
  } catch (error) {
    run.abandon();
    throw error;
  }
  return written[0]!;
}

/** Merges tables into new ones, durable but for their directory entries; none if nothing was left. */
export async function compactTables(
  fs: FileSystem,
  argument: CompactArgument,
  pause: Pause,
): Promise<WrittenTable[]> {
  const { directory, now, tableBytes, table } = argument;
  const stripes = new Stripes(argument.snapshots);
  const input = new CompactionInput(fs, directory, argument.inputs, argument.sharedBytes);
  let run: TableRun | undefined;
  let written: WrittenTable[];
  try {
    const rangeDeletes = mergeRangeDeletes(
      argument.deleting.map((number) => RangeDeletes.of(readRangeTombstones(fs, directory, number))),
      stillRead(stripes),
    );
    const visible = new Visibility(stripes, now, rangeDeletes, argument.deeper);
    const cuts = new OutputCuts(argument.below, argument.belowBytesMax);
    const options = { directory, numbers: argument.outputs, tableBytes, table, cuts };
    run = new TableRun(fs, options, visible.keptRangeDeletes());
    let sincePause = 0;
    for (input.start(); input.valid; input.next()) {
      if (++sincePause >= PAUSE_ENTRIES) {
        sincePause = 0;
        await pause();
        checkStop(argument.stop);
      }
      if (visible.keeps(input.entry)) run.add(input.entry, visible.isFirstOfKey);
    }
    written = run.finish();
  } catch (error) {
    run?.abandon();
    throw error;
  } finally {
    input.close();
  }
  return written;
}

/** Of two tombstones over the same keys the older one counts for a snapshot between them. */
function stillRead(stripes: Stripes): StillRead {
  return (older, newer) => stripes.of(older) !== stripes.of(newer);
}
