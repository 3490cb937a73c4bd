/**
 * What happens to a directory before the engine works in it: the manifest is read, the log's batches go into a memtable
 * again, a new manifest begins, and what no longer belongs to the store is removed. Damage is found before anything is
 * changed.
 *
 * Tables that no manifest names, and spare files, go before anything is written: on a full disk a start needs their space,
 * and may itself have left them when it failed. The manifest and the log before go when the new manifest counts.
 */
import type { FileSystem } from "../env/env.ts";
import { makeDurableDirectory } from "./durable-directory.ts";
import { CURRENT, filePath, LOCK, parseFileName, TEMPORARY_SUFFIX } from "./file-names.ts";
import { Levels } from "./levels.ts";
import type { OpenStore } from "./lsm.ts";
import {
  type ManifestState,
  ManifestWriter,
  makeManifestDurable,
  readManifest,
  type TableMeta,
} from "./manifest.ts";
import type { Memtable } from "./memtable.ts";
import { corrupt, StorageError } from "./storage-error.ts";
import type { TableCache } from "./table-cache.ts";
import { decodeFooter, FOOTER_BYTES } from "./table-format.ts";
import { replayWal, surveyWal } from "./wal-recovery.ts";

const NEW_STORE: ManifestState = { nextFileNumber: 1, lastSequence: 0, flushedRecord: 0, tables: [] };

/** What becomes of what the log holds: memtables, of which all but the last are tables before the engine works. */
export interface Replay {
  newMemtable(): Memtable;
  /** A memtable of this many bytes becomes a table. */
  readonly memtableBytes: number;
  /** Writes a memtable as a table of level 0 with this file number, durably. */
  flush(memtable: Memtable, fileNumber: number): Promise<TableMeta>;
}

/** Locks and recovers a directory. */
export async function recoverStore(
  fs: FileSystem,
  directory: string,
  tables: TableCache,
  replay: Replay,
): Promise<OpenStore> {
  makeDurableDirectory(fs, directory);
  const lock = fs.lock(`${directory}/${LOCK}`);
  if (lock === undefined) throw lockedBy(fs, directory);
  try {
    return { lock, ...(await recoverLocked(fs, directory, tables, replay)) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The error for a directory whose lock somebody has, another process or this one. */
export function lockedBy(fs: FileSystem, directory: string): StorageError {
  const holder = fs.lockHolder(`${directory}/${LOCK}`);
  const who = holder === undefined ? "" : `, in process ${holder}`;
  return new StorageError("LOCKED", `the store in ${directory} is open already${who}`);
}

/** A table that was cut off, or that is another version's, is noticed at the start, and not when somebody reads it. */
function checkTable(fs: FileSystem, directory: string, { number, bytes }: TableMeta): void {
  const file = fs.open(filePath(directory, number, "table"), "read");
  try {
    const size = file.size();
    if (size !== bytes || size < FOOTER_BYTES) {
      throw corrupt(
        file.path,
        Math.min(size, bytes),
        `the file has ${size} bytes, and was written with ${bytes}`,
      );
    }
    const footer = new Uint8Array(FOOTER_BYTES);
    file.read(footer, 0, FOOTER_BYTES, size - FOOTER_BYTES);
    decodeFooter(footer, file.path, size);
  } finally {
    file.close();
  }
}

async function recoverLocked(
  fs: FileSystem,
  directory: string,
  tables: TableCache,
  replay: Replay,
): Promise<Omit<OpenStore, "lock">> {
  const names = fs.list(directory);
  const files = names.map((name) => ({ name, parsed: parseFileName(name) }));
  const manifestState = readManifest(fs, directory);
  if (
    manifestState === undefined &&
    files.some(({ parsed }) => parsed?.kind === "table" || parsed?.kind === "wal")
  ) {
    throw corrupt(`${directory}/${CURRENT}`, 0, "the file is missing, but there are tables or logs");
  }
  const state = manifestState ?? NEW_STORE;
  const present = new Set(files.flatMap(({ parsed }) => (parsed?.kind === "table" ? [parsed.number] : [])));
  for (const table of state.tables) {
    if (!present.has(table.number)) throw corrupt(directory, 0, `table ${table.number} is missing`);
    checkTable(fs, directory, table);
  }

  const logs = files
    .flatMap(({ parsed }) => (parsed?.kind === "wal" ? [parsed.number] : []))
    .sort((a, b) => a - b);
  const survey = surveyWal(fs, directory, logs, state.flushedRecord);

  let nextFileNumber = state.nextFileNumber;
  for (const { parsed } of files) {
    if (parsed !== undefined && parsed.number >= nextFileNumber) nextFileNumber = parsed.number + 1;
  }
  const needed = new Set(state.tables.map(({ number }) => number));
  const isLeftOver = ({ name, parsed }: (typeof files)[number]): boolean =>
    parsed === undefined
      ? name.endsWith(TEMPORARY_SUFFIX)
      : parsed.kind === "table" && !needed.has(parsed.number);
  const leftOver = files.filter(isLeftOver);
  // The edit that dropped a table may have been read from memory only: a power loss would bring back a manifest that names it.
  if (leftOver.some(({ parsed }) => parsed !== undefined)) makeManifestDurable(fs, directory);
  for (const { name } of leftOver) fs.remove(`${directory}/${name}`);

  let { lastSequence } = state;
  const found = { ...state, tables: [...state.tables] };
  let memtable = replay.newMemtable();
  const flush = async (record: number): Promise<void> => {
    found.tables.push(await replay.flush(memtable, nextFileNumber++));
    found.lastSequence = lastSequence;
    found.flushedRecord = record;
    memtable = replay.newMemtable();
  };
  await replayWal(fs, directory, survey, state.flushedRecord, (bytes, start, end, count, record) => {
    // Nobody reads yet: what is overwritten need not be kept.
    memtable.insert(bytes, start, end, count, lastSequence + 1, -1);
    lastSequence += count;
    return memtable.byteLength < replay.memtableBytes ? undefined : flush(record);
  });
  const manifestNumber = nextFileNumber++;
  const newState: ManifestState = { ...found, nextFileNumber };
  const manifest = await ManifestWriter.create(fs, directory, manifestNumber, newState);

  const neededLogs = survey.files.filter(({ lastRecord }) => lastRecord > found.flushedRecord);
  for (const { number } of neededLogs) needed.add(number);
  try {
    for (const { name, parsed } of files)
      if (parsed !== undefined && !needed.has(parsed.number)) fs.remove(`${directory}/${name}`);
    await fs.syncDirectory(directory);
  } catch (error) {
    manifest.close();
    throw error;
  }

  const levels = new Levels(tables, found.tables);
  return {
    state: newState,
    manifest,
    levels,
    wal: { lastRecord: survey.lastRecord, files: neededLogs },
    memtable,
    lastSequence,
  };
}
