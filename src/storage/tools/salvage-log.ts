/**
 * The batches that can be read of a log that is damaged, or lacks a part. By default those before the first damage: the
 * store is then as it was at one moment. What lies behind can be asked for as well; then it is as if the lost batches had
 * never been written, while later ones were.
 */
import type { FileSystem } from "../../env/env.ts";
import { filePath } from "../file-names.ts";
import { readU32, readU64 } from "../fixed-width.ts";
import { WAL_MAGIC } from "../wal-files.ts";
import { RECORD_BATCH, RECORD_END } from "../wal-recovery.ts";
import { assertBatch, BATCH_HEADER_BYTES } from "../write-batch.ts";
import { surveyLog } from "./log-survey.ts";
import { attempt } from "./table-survey.ts";

export interface LogSalvage {
  /** How many batches are applied, and the number of the last one (that of the last in tables, if there are none). */
  readonly applied: number;
  readonly lastApplied: number;
  /** The numbers at which records are missing: `[first, last]`, `last` undefined where the log ends in damage. */
  readonly gaps: readonly (readonly [first: number, last: number | undefined])[];
  /** Batches behind the first gap that can be read and are not applied. */
  readonly passedOver: number;
  /** The highest record number that was seen anywhere. */
  readonly highest: number;
}

/** A batch: its encoded operations, borrowed until the next one. */
export interface SalvagedBatch {
  readonly operations: Uint8Array;
  readonly count: number;
}

/**
 * The batches of the logs `numbers` (ascending) whose record numbers are above `flushedRecord`, in order; returns what they
 * are all together. Throws `FileError`, and `NEWER`.
 */
export function* salvageLog(
  fs: FileSystem,
  directory: string,
  numbers: readonly number[],
  flushedRecord: number,
  afterDamage: boolean,
): Generator<SalvagedBatch, LogSalvage, void> {
  const gaps: [number, number | undefined][] = [];
  let applied = 0;
  let lastApplied = flushedRecord;
  let passedOver = 0;
  let highest = flushedRecord;
  let openDamage = false;
  for (const number of numbers) {
    for (const part of surveyLog(fs, filePath(directory, number, "wal"), WAL_MAGIC, number)) {
      if (part.kind === "header") {
        if (part.mark === 0) break;
        continue;
      }
      if (part.kind === "damage") {
        openDamage ||= !part.isTail;
        if (part.isTail) break;
        continue;
      }
      if (part.type === RECORD_END) break;
      const { payload } = part;
      const whole = attempt(() => {
        assertBatch(payload, 0, payload.length);
        return readU64(payload, 0);
      });
      if (!whole.ok || part.type !== RECORD_BATCH) {
        openDamage = true;
        continue;
      }
      const record = whole.value;
      openDamage = false;
      if (record <= highest) continue;
      if (record > highest + 1) gaps.push([highest + 1, record - 1]);
      highest = record;
      if (gaps.length > 0 && !afterDamage) {
        passedOver++;
        continue;
      }
      yield { operations: payload.subarray(BATCH_HEADER_BYTES), count: readU32(payload, 8) };
      applied++;
      lastApplied = record;
    }
  }
  if (openDamage) gaps.push([highest + 1, undefined]);
  return { applied, lastApplied, gaps, passedOver, highest };
}
