/** The figures of `Engine.stats` that are put together from several parts of the store. */
import type { Compactor } from "./compactor.ts";
import type { EngineStats } from "./engine.ts";
import type { Flusher } from "./flusher.ts";
import type { Levels } from "./levels.ts";
import { bytesOf } from "./manifest.ts";
import type { Strain, WriteThrottle } from "./write-throttle.ts";

type TableStats = Pick<
  EngineStats,
  | "tables"
  | "tableBytes"
  | "tablesPerLevel"
  | "bytesPerLevel"
  | "readsPerLevel"
  | "flushes"
  | "flushBytesWritten"
  | "compactions"
  | "compactionBytesRead"
  | "compactionBytesWritten"
  | "tablesMoved"
  | "tablesDropped"
  | "compactionDebt"
  | "writeAmplification"
  | "spaceAmplification"
>;

/** What the store's tables are, and what was written to make them so. */
export function tableStats(levels: Levels, flusher: Flusher, compactor: Compactor): TableStats {
  const metas = levels.metas;
  const tablesPerLevel = metas.map((tables) => tables.length);
  const bytesPerLevel = metas.map(bytesOf);
  const tableBytes = bytesPerLevel.reduce((sum, bytes) => sum + bytes, 0);
  const lastLevelBytes = bytesPerLevel.findLast((bytes) => bytes > 0) ?? 0;
  const { flushes, bytesWritten } = flusher;
  const { counts } = compactor;
  return {
    tables: tablesPerLevel.reduce((sum, tables) => sum + tables, 0),
    tableBytes,
    tablesPerLevel,
    bytesPerLevel,
    readsPerLevel: levels.reads,
    flushes,
    flushBytesWritten: bytesWritten,
    compactions: counts.merges,
    compactionBytesRead: counts.bytesRead,
    compactionBytesWritten: counts.bytesWritten,
    tablesMoved: counts.moved,
    tablesDropped: counts.dropped,
    compactionDebt: compactor.debt,
    writeAmplification: bytesWritten === 0 ? 1 : (bytesWritten + counts.bytesWritten) / bytesWritten,
    spaceAmplification: lastLevelBytes === 0 ? 1 : tableBytes / lastLevelBytes,
  };
}

type WriteStats = Pick<
  EngineStats,
  | "pressureCause"
  | "writeDelays"
  | "writeDelayMs"
  | "writeStopsMemtables"
  | "writeStopsLevel0"
  | "writeStopsCompactionDebt"
  | "writeStopMs"
>;

/** How much writers are held back. */
export function writeStats({ cause }: Strain, throttle: WriteThrottle): WriteStats {
  const { delays, delayMs, stops, stopMs } = throttle.counts;
  return {
    pressureCause: cause,
    writeDelays: delays,
    writeDelayMs: delayMs,
    writeStopsMemtables: stops.memtables,
    writeStopsLevel0: stops["level 0"],
    writeStopsCompactionDebt: stops["compaction debt"],
    writeStopMs: stopMs,
  };
}
