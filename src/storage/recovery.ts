/**
 * What happens to a directory before the engine works in it: the manifest is read, the log's batches go into a memtable
 * again, a new manifest begins, and what no longer belongs to the store is removed. Damage is found before anything is
 * changed.
 */
import type { FileSystem } from "../env/env.ts";
import { makeDurableDirectory } from "./durable-directory.ts";
import { CURRENT, filePath, LOCK, parseFileName, TEMPORARY_SUFFIX } from "./file-names.ts";
import { Levels } from "./levels.ts";
import type { OpenStore } from "./lsm.ts";
import { type ManifestState, ManifestWriter, readManifest, type TableMeta } from "./manifest.ts";
import type { Memtable } from "./memtable.ts";
import { corrupt, StorageError } from "./storage-error.ts";
import type { TableCache } from "./table-cache.ts";
import { recoverWal } from "./wal.ts";

const NEW_STORE: ManifestState = { nextFileNumber: 1, lastSequence: 0, flushedRecord: 0, tables: [] };

/** Locks and recovers a directory. `memtable` is empty and takes what the log holds. */
export async function recoverStore(
  fs: FileSystem,
  directory: string,
  tables: TableCache,
  memtable: Memtable,
): Promise<OpenStore> {
  makeDurableDirectory(fs, directory);
  const lock = fs.lock(`${directory}/${LOCK}`);
  if (lock === undefined)
    throw new StorageError("LOCKED", `another process has the store in ${directory} open`);
  try {
    return { lock, ...(await recoverLocked(fs, directory, tables, memtable)) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** A table that was cut off is noticed at the start, and not when somebody reads what it lacks. */
function checkLength(fs: FileSystem, directory: string, { number, bytes }: TableMeta): void {
  const file = fs.open(filePath(directory, number, "table"), "read");
  try {
    const size = file.size();
    if (size !== bytes) {
      throw corrupt(
        file.path,
        Math.min(size, bytes),
        `the file has ${size} bytes, and was written with ${bytes}`,
      );
    }
  } finally {
    file.close();
  }
}

async function recoverLocked(
  fs: FileSystem,
  directory: string,
  tables: TableCache,
  memtable: Memtable,
): Promise<Omit<OpenStore, "lock">> {
  const names = fs.list(directory);
  const files = names.map((name) => ({ name, parsed: parseFileName(name) }));
  const found = readManifest(fs, directory);
  if (found === undefined && files.some(({ parsed }) => parsed?.kind === "table" || parsed?.kind === "wal")) {
    throw corrupt(`${directory}/${CURRENT}`, 0, "the file is missing, but there are tables or logs");
  }
  const state = found ?? NEW_STORE;
  const present = new Set(files.flatMap(({ parsed }) => (parsed?.kind === "table" ? [parsed.number] : [])));
  for (const table of state.tables) {
    if (!present.has(table.number)) throw corrupt(directory, 0, `table ${table.number} is missing`);
    checkLength(fs, directory, table);
  }

  let lastSequence = state.lastSequence;
  const logs = files
    .flatMap(({ parsed }) => (parsed?.kind === "wal" ? [parsed.number] : []))
    .sort((a, b) => a - b);
  const wal = recoverWal(fs, directory, logs, state.flushedRecord, (bytes, start, end, count) => {
    memtable.insert(bytes, start, end, count, lastSequence + 1);
    lastSequence += count;
  });

  let nextFileNumber = state.nextFileNumber;
  for (const { parsed } of files) {
    if (parsed !== undefined && parsed.number >= nextFileNumber) nextFileNumber = parsed.number + 1;
  }
  const manifestNumber = nextFileNumber++;
  const newState = { ...state, nextFileNumber };
  const manifest = await ManifestWriter.create(fs, directory, manifestNumber, newState);

  const named = new Set(state.tables.map(({ number }) => number));
  const neededLogs = wal.files.filter(({ lastRecord }) => lastRecord > state.flushedRecord);
  for (const { number } of neededLogs) named.add(number);
  for (const { name, parsed } of files) {
    const orphan = parsed === undefined ? name.endsWith(TEMPORARY_SUFFIX) : !named.has(parsed.number);
    if (orphan) fs.remove(`${directory}/${name}`);
  }
  await fs.syncDirectory(directory);

  const levels = new Levels(tables, state.tables);
  return {
    state: newState,
    manifest,
    levels,
    wal: { lastRecord: wal.lastRecord, files: neededLogs },
    memtable,
    lastSequence,
  };
}
