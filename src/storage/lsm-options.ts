import type { CompactionLimits } from "./compaction-policy.ts";
import { ARENA_BYTES_MAX } from "./memtable.ts";
import { LOG_FILE_BYTES_MAX } from "./record-frame.ts";
import { invalid } from "./storage-error.ts";
import type { Compression } from "./table-format.ts";
import type { TableOptions } from "./table-writer.ts";
import { GROUP_BYTES_MAX } from "./wal.ts";
import type { BatchLimits } from "./write-batch.ts";
import type { ThrottleLimits } from "./write-throttle.ts";

/** Every limit of the engine. */
export interface LsmOptions
  extends Omit<TableOptions, "compression">,
    CompactionLimits,
    ThrottleLimits,
    BatchLimits {
  /**
   * How the data blocks of tables are written: all alike, or by level from 0 on, the last one for all deeper levels. Tables
   * that are there stay as they are until a compaction rewrites them.
   */
  readonly compression: Compression | readonly Compression[];
  /** A memtable of this many bytes is sealed when its writers allow it. */
  readonly memtableBytes: number;
  /** What the cached data blocks, indexes and filters of all tables may take, in bytes. */
  readonly blockCacheBytes: number;
  /** How many tables are kept open; each takes a file descriptor. Iterators keep those open that they are in. */
  readonly openTables: number;
  /** A log file ends before the record that would make it longer, in bytes. */
  readonly walFileBytes: number;
  /** How many log files are kept to be used again, so that a sync need not wait for the file system's own records. */
  readonly walSpareFiles: number;
  /** A manifest this long is replaced by a new one, in bytes. */
  readonly manifestBytes: number;
  /** After how many milliseconds a full disk is tried again. */
  readonly retryMs: number;
  /** Called once, when a disk fault has made it impossible to go on: the process should say why and end. */
  readonly onFatal: (error: Error) => void;
}

export const LSM_DEFAULTS: LsmOptions = {
  keyBytesMax: 64 * 1024,
  valueBytesMax: 64 * 1024 * 1024,
  batchBytesMax: 256 * 1024 * 1024,
  memtableBytes: 32 * 1024 * 1024,
  blockBytes: 4096,
  restartInterval: 16,
  bloomBitsPerKey: 10,
  partitionBytes: 8192,
  compression: "none",
  blockCacheBytes: 64 * 1024 * 1024,
  openTables: 512,
  tableBytes: 16 * 1024 * 1024,
  walFileBytes: 32 * 1024 * 1024,
  walSpareFiles: 2,
  manifestBytes: 1024 * 1024,
  level0Tables: 4,
  level0TablesSlow: 12,
  level0TablesStop: 24,
  level1Bytes: 128 * 1024 * 1024,
  levelSizeRatio: 10,
  garbageShare: 0.25,
  sealedMemtablesSlow: 2,
  sealedMemtablesStop: 4,
  compactionDebtSlow: 8 * 1024 * 1024 * 1024,
  compactionDebtStop: 32 * 1024 * 1024 * 1024,
  retryMs: 1000,
  onFatal: () => {},
};

/** The defaults with `options` over them. Throws `INVALID` for values that can't be, or that contradict each other. */
export function lsmOptions(options: Partial<LsmOptions>): LsmOptions {
  const all = { ...LSM_DEFAULTS, ...options };
  for (const [name, value] of Object.entries(all)) {
    if (typeof LSM_DEFAULTS[name as keyof LsmOptions] !== "number") continue;
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
      throw invalid(`the store's option ${name} is ${String(value)}`);
  }
  check(all.memtableBytes > 0 && all.blockBytes > 0 && all.tableBytes > 0, "sizes are above zero");
  check(
    all.restartInterval > 0 && all.bloomBitsPerKey > 0,
    "restartInterval and bloomBitsPerKey are above zero",
  );
  check(all.partitionBytes > 0, "partitionBytes is above zero");
  check(compressionsOf(all).length > 0, "compression names at least one");
  check(
    compressionsOf(all).every((name) => name === "none" || name === "zstd"),
    "compression is none or zstd",
  );
  check(
    0 < all.keyBytesMax && all.keyBytesMax < all.batchBytesMax && 0 <= all.valueBytesMax,
    "a batch has room for a key",
  );
  check(all.valueBytesMax < all.batchBytesMax, "a batch has room for a value");
  check(
    all.memtableBytes + all.batchBytesMax + GROUP_BYTES_MAX <= ARENA_BYTES_MAX,
    "a memtable that is nearly full has room for what is written at once",
  );
  check(all.batchBytesMax <= LOG_FILE_BYTES_MAX / 2, "a log file has room for what is written at once");
  check(all.openTables > 0, "openTables is above zero");
  check(all.walFileBytes <= LOG_FILE_BYTES_MAX / 2, "walFileBytes leaves room for one more record");
  check(
    all.level0Tables <= all.level0TablesSlow && all.level0TablesSlow <= all.level0TablesStop,
    "level0Tables <= level0TablesSlow <= level0TablesStop",
  );
  check(
    0 < all.sealedMemtablesSlow && all.sealedMemtablesSlow <= all.sealedMemtablesStop,
    "0 < sealedMemtablesSlow <= sealedMemtablesStop",
  );
  check(
    0 < all.compactionDebtSlow && all.compactionDebtSlow <= all.compactionDebtStop,
    "0 < compactionDebtSlow <= compactionDebtStop",
  );
  check(all.level0Tables > 0 && all.level1Bytes > 0 && all.levelSizeRatio > 1, "levels grow");
  check(0 < all.garbageShare && all.garbageShare < 1, "garbageShare is between 0 and 1");
  return all;
}

function check(condition: boolean, what: string): void {
  if (!condition) throw invalid(`the store's options have to fit: ${what}`);
}

/** How the tables of a level are written. */
export function tableOptions(options: LsmOptions, level: number): TableOptions {
  const { blockBytes, restartInterval, bloomBitsPerKey, partitionBytes } = options;
  const compressions = compressionsOf(options);
  const compression = compressions[Math.min(level, compressions.length - 1)]!;
  return { blockBytes, restartInterval, bloomBitsPerKey, partitionBytes, compression };
}

function compressionsOf({ compression }: LsmOptions): readonly Compression[] {
  return typeof compression === "string" ? [compression] : compression;
}
