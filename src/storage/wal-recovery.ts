/**
 * What the log's files hold when the engine opens (`docs/formats/wal.md` is the reference).
 *
 * All files are read twice, record by record: first to see whether they are whole, before anything is changed or made of
 * them, then to apply them. Whatever their number, no more than one record is in memory.
 */
import type { FileSystem } from "../env/env.ts";
import { AssertionError } from "../lib/assert.ts";
import { filePath } from "./file-names.ts";
import { readU32, readU64 } from "./fixed-width.ts";
import { settleTail } from "./record-log.ts";
import { RecordReader } from "./record-reader.ts";
import { corrupt } from "./storage-error.ts";
import { WAL_MAGIC, type WalFile } from "./wal-files.ts";
import { assertBatch, BATCH_HEADER_BYTES } from "./write-batch.ts";

export const RECORD_BATCH = 1;
/** The last record of a log that was closed in order: it vouches for all that is before it. */
export const RECORD_END = 2;

/** Where the log goes on. */
export interface RecoveredWal {
  /** The highest record number in use. */
  readonly lastRecord: number;
  /** Files whose records are not all in tables. */
  readonly files: readonly WalFile[];
}

/** What `surveyWal` found. */
export interface WalSurvey extends RecoveredWal {
  /** What the last file of all vouches for itself; what is behind it in the file has to be made durable. */
  readonly vouchedFor: number;
  /** The last file, if it was begun. */
  readonly last: WalFile | undefined;
}

/**
 * Reads the log files `numbers` (ascending), changing nothing. Throws `CORRUPT` for damage and for records that are
 * missing, of those above `flushedRecord`.
 */
export function surveyWal(
  fs: FileSystem,
  directory: string,
  numbers: readonly number[],
  flushedRecord: number,
): WalSurvey {
  const files: WalFile[] = [];
  let lastRecord = flushedRecord;
  let vouchedFor = 0;
  let last: WalFile | undefined;
  // From the newest file to the oldest: what a file may end with depends on the one behind it.
  let next: number | undefined;
  for (let i = numbers.length - 1; i >= 0; i--) {
    const number = numbers[i]!;
    const reader = new RecordReader(fs, filePath(directory, number, "wal"), WAL_MAGIC, number);
    try {
      const isNewest = i === numbers.length - 1;
      if (reader.headerFault !== undefined && !isNewest) {
        throw corrupt(reader.path, 0, `${reader.headerFault}; a later file shows that this had been durable`);
      }
      // It was got ready, but not begun.
      if (reader.headerFault === undefined && reader.mark === 0) continue;
      const found = surveyFile(reader);
      if (next === undefined) reader.refuseUnlessTorn();
      if (reader.headerFault !== undefined) continue;
      const file = { number, lastRecord: found, bytes: reader.tail, fileBytes: reader.size };
      if (next === undefined) {
        last = file;
        vouchedFor = reader.vouchedFor;
        lastRecord = Math.max(lastRecord, found);
      } else if (found >= next) {
        throw corrupt(
          reader.path,
          0,
          `it has the records up to ${found}, but a later file begins with ${next}`,
        );
      } else if (found + 1 < next && next > flushedRecord + 1) {
        reader.refuse(`a later file goes on with record ${next}, those from ${found + 1} on are missing`);
      } else if (found + 1 < next) {
        // All that is missing is in tables. But what was durable and can't be read is damage all the same.
        reader.refuseUnlessTorn();
      }
      next = reader.mark;
      files.unshift(file);
    } finally {
      reader.close();
    }
  }
  if (next !== undefined && next > flushedRecord + 1) {
    throw corrupt(
      filePath(directory, files[0]!.number, "wal"),
      0,
      `the log goes on with record ${next}, but records from ${flushedRecord + 1} on are missing`,
    );
  }
  const needed = files.filter((file) => file.lastRecord > flushedRecord);
  return { lastRecord, files: needed, vouchedFor, last };
}

/** Reads a file to the end of its records; returns the number of the last one, or the one before its first. */
function surveyFile(reader: RecordReader): number {
  let lastRecord = reader.mark - 1;
  while (reader.next()) {
    if (reader.type === RECORD_END) continue;
    const { path, offset, type, bytes, start, end } = reader;
    if (type !== RECORD_BATCH) throw corrupt(path, offset, `a record has the unknown type ${type}`);
    checkBatch(path, offset, bytes, start, end);
    const number = readU64(bytes, start);
    if (number !== lastRecord + 1)
      throw corrupt(path, offset, `a record has the number ${number}, expected ${lastRecord + 1}`);
    lastRecord = number;
  }
  return lastRecord;
}

/** The checksum has vouched for the bytes: what is wrong was written so, by somebody. It is refused like damage. */
function checkBatch(path: string, offset: number, bytes: Uint8Array, start: number, end: number): void {
  try {
    assertBatch(bytes, start, end);
    readU64(bytes, start);
  } catch (error) {
    if (error instanceof AssertionError) throw corrupt(path, offset, error.message);
    throw error;
  }
}

/**
 * Makes what the survey found durable, cutting a torn tail, and hands every batch whose record number is above
 * `flushedRecord` to `apply`, in order. Throws `FileError`.
 */
export async function replayWal(
  fs: FileSystem,
  directory: string,
  survey: WalSurvey,
  flushedRecord: number,
  apply: (
    bytes: Uint8Array,
    start: number,
    end: number,
    count: number,
    record: number,
  ) => Promise<void> | undefined,
): Promise<void> {
  const { last } = survey;
  if (last !== undefined) {
    const handle = fs.open(filePath(directory, last.number, "wal"), "write");
    try {
      settleTail(handle, survey.vouchedFor, last.bytes);
    } finally {
      handle.close();
    }
  }
  for (const file of survey.files) {
    const reader = new RecordReader(fs, filePath(directory, file.number, "wal"), WAL_MAGIC, file.number);
    try {
      reader.limit(file.bytes);
      while (reader.next()) {
        if (reader.type === RECORD_END) continue;
        const { bytes, start, end } = reader;
        const record = readU64(bytes, start);
        if (record <= flushedRecord) continue;
        const done = apply(bytes, start + BATCH_HEADER_BYTES, end, readU32(bytes, start + 8), record);
        if (done !== undefined) await done;
      }
      if (reader.fault !== undefined) reader.refuse("it could be read just before");
    } finally {
      reader.close();
    }
  }
}
