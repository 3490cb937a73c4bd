/**
 * The manifest: which tables make up the store, as a log of edits (`docs/formats/manifest.md` is the reference).
 *
 * Every change of the set of tables is one record, durable before anything hangs on it. The first record of a manifest
 * is the whole state. `CURRENT` names the manifest that counts; a new one takes over by a rename. That happens whenever
 * the engine opens (so a torn tail is never appended to, and numbers seen on disk are never given out again), and when the
 * manifest has grown long.
 */
import type { FileSystem } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { xxh64 } from "../lib/hash.ts";
import { LEVELS } from "./compaction-plan.ts";
import { CURRENT, fileName, filePath, parseFileName, TEMPORARY_SUFFIX } from "./file-names.ts";
import { type GrowingBytes, readU32, readU64 } from "./fixed-width.ts";
import { newRecord, RecordLogWriter, removeQuietly, syncOrFail } from "./record-log.ts";
import { RecordReader } from "./record-reader.ts";
import { corrupt } from "./storage-error.ts";
import type { WrittenTable } from "./table-writer.ts";

export const MANIFEST_MAGIC = "FLOTMANI";
const EDIT = 1;
/** More than any `CURRENT` has. */
const CURRENT_BYTES_MAX = 256;

/** A table as the manifest knows it. Keys are owned. */
export interface TableMeta {
  readonly number: number;
  readonly level: number;
  /** Length of the file. */
  readonly bytes: number;
  readonly entries: number;
  readonly tombstones: number;
  readonly rangeTombstones: number;
  /** Entries with a time from which they are gone, and the latest such time (milliseconds; 0 without any). */
  readonly expiring: number;
  readonly latestExpiry: number;
  /** Entries that are older versions of the key of the entry before: what a snapshot saw when the table was written. */
  readonly overwritten: number;
  readonly largestSequence: number;
  readonly smallestKey: Uint8Array;
  readonly largestKey: Uint8Array;
  /** False: the table reaches up to `largestKey` and without it; only the end of a range tombstone does that. */
  readonly largestKeyIncluded: boolean;
}

/** A written table as the manifest will know it. */
export function metaOf(table: WrittenTable, level: number): TableMeta {
  const { number, bytes, entries, tombstones, rangeTombstones, expiring, latestExpiry } = table;
  const { overwritten, largestSequence, smallestKey, largestKey, largestKeyIncluded } = table;
  return {
    number,
    level,
    bytes,
    entries,
    tombstones,
    rangeTombstones,
    expiring,
    latestExpiry,
    overwritten,
    largestSequence,
    smallestKey,
    largestKey,
    largestKeyIncluded,
  };
}

/** What tables take on disk together. */
export function bytesOf(tables: readonly TableMeta[]): number {
  let bytes = 0;
  for (const table of tables) bytes += table.bytes;
  return bytes;
}

export interface VersionEdit {
  /** Above every file number that was ever given out. */
  readonly nextFileNumber: number;
  /** The highest sequence number in any table, ever. */
  readonly lastSequence: number;
  /** The highest number of a log record whose batch is in tables. */
  readonly flushedRecord: number;
  readonly added: readonly TableMeta[];
  /** File numbers. */
  readonly removed: readonly number[];
}

/** What all edits together say. */
export interface ManifestState {
  readonly nextFileNumber: number;
  readonly lastSequence: number;
  readonly flushedRecord: number;
  readonly tables: readonly TableMeta[];
}

/** Reads the manifest that `CURRENT` names; `undefined` for a directory without one. Throws `CORRUPT` or `FileError`. */
export function readManifest(fs: FileSystem, directory: string): ManifestState | undefined {
  const name = currentManifest(fs, directory);
  if (name === undefined) return undefined;
  const path = `${directory}/${name}`;
  const reader = new RecordReader(fs, path, MANIFEST_MAGIC, parseFileName(name)!.number);
  try {
    return readEdits(reader);
  } finally {
    reader.close();
  }
}

/** The name in `CURRENT`, of a file that is there; `undefined` for a directory without one. Throws `CORRUPT` or `FileError`. */
function currentManifest(fs: FileSystem, directory: string): string | undefined {
  const currentPath = `${directory}/${CURRENT}`;
  if (!fs.exists(currentPath)) return undefined;
  const name = decodeCurrent(readStart(fs, currentPath, CURRENT_BYTES_MAX), currentPath);
  if (!fs.exists(`${directory}/${name}`))
    throw corrupt(currentPath, 0, `it names ${name}, which is not there`);
  return name;
}

function readEdits(reader: RecordReader): ManifestState {
  const { path } = reader;
  const tables = new Map<number, TableMeta>();
  let numbers: Omit<ManifestState, "tables"> | undefined;
  while (reader.next()) {
    const { offset } = reader;
    if (reader.type !== EDIT) throw corrupt(path, offset, `a record has the unknown type ${reader.type}`);
    const edit = decodeEdit(reader.bytes.subarray(reader.start, reader.end), path, offset);
    for (const number of edit.removed) {
      if (!tables.delete(number))
        throw corrupt(path, offset, `an edit removes table ${number}, which is not there`);
    }
    for (const table of edit.added) {
      if (tables.has(table.number))
        throw corrupt(path, offset, `an edit adds table ${table.number}, which is there`);
      tables.set(table.number, table);
    }
    const { nextFileNumber, lastSequence, flushedRecord } = edit;
    numbers = { nextFileNumber, lastSequence, flushedRecord };
  }
  // A manifest is named only after its first record was durable.
  if (numbers === undefined) reader.refuse("the manifest had a record when it was named");
  reader.refuseUnlessTorn();
  return { ...numbers, tables: [...tables.values()] };
}

/**
 * Makes the manifest that `CURRENT` names durable as it is read now, if there is one. Where a sync of it has failed the
 * system takes it for written: so it is written once more, in place, which takes no space. Throws `FileError`.
 */
export function makeManifestDurable(fs: FileSystem, directory: string): void {
  const name = currentManifest(fs, directory);
  if (name === undefined) return;
  const handle = fs.open(`${directory}/${name}`, "write");
  try {
    const bytes = new Uint8Array(handle.size());
    const length = handle.read(bytes, 0, bytes.length, 0);
    handle.write(bytes, 0, length, 0);
    handle.syncNow();
  } finally {
    handle.close();
  }
  fs.syncDirectorySync(directory);
}

/** Appends edits to the manifest. One caller at a time. */
export class ManifestWriter {
  readonly #fs: FileSystem;
  readonly #directory: string;
  #log: RecordLogWriter;
  #mustBeReplaced = false;
  /** Damage to the last edit would be noticed. To that of a new manifest's only one it is: there is none without. */
  #isLastVouchedFor = true;

  private constructor(fs: FileSystem, directory: string, log: RecordLogWriter) {
    this.#fs = fs;
    this.#directory = directory;
    this.#log = log;
  }

  /** Writes a new manifest with the number `number` that holds `state`, and makes it the one that counts. */
  static async create(
    fs: FileSystem,
    directory: string,
    number: number,
    state: ManifestState,
  ): Promise<ManifestWriter> {
    const log = await createManifest(fs, directory, number, state);
    return new ManifestWriter(fs, directory, log);
  }

  /** Length of the manifest in bytes. */
  get size(): number {
    return this.#log.size;
  }

  /** An edit could not be appended: only a new manifest takes further ones. */
  get mustBeReplaced(): boolean {
    return this.#mustBeReplaced;
  }

  /**
   * Appends an edit and makes it durable, with the names of the tables that it adds. Throws `FileError` if it could not
   * be written: then it does not count, and may be tried again after `replace`, since nobody knows for sure what of it is
   * on the disk; throws `FAILED` if something could not be synced, which is final.
   */
  async append(edit: VersionEdit): Promise<void> {
    assert(!this.#mustBeReplaced, `${this.#log.path}: an edit after one that failed`);
    this.#mustBeReplaced = true;
    // The tables were made durable by who wrote them, their names were not.
    const isNew = ({ number }: TableMeta): boolean => !edit.removed.includes(number);
    if (edit.added.some(isNew)) await syncOrFail(this.#fs.syncDirectory(this.#directory), this.#directory);
    await appendEdit(this.#log, edit);
    this.#mustBeReplaced = false;
    this.#isLastVouchedFor = false;
  }

  /**
   * Before `close`: appends an edit that changes nothing, so that it vouches for the one before. Without it, damage to the
   * last edit can't be told from one that was never finished. Throws as `append` does; what was appended stays durable.
   */
  async vouch(state: ManifestState): Promise<void> {
    if (this.#isLastVouchedFor || this.#mustBeReplaced) return;
    await this.append({ ...state, added: [], removed: [] });
    this.#isLastVouchedFor = true;
  }

  /**
   * Goes over to a new manifest that holds `state`, and removes the old one. Throws `FileError` (then the old one still
   * counts) or `FAILED`.
   */
  async replace(number: number, state: ManifestState): Promise<void> {
    const log = await createManifest(this.#fs, this.#directory, number, state);
    const old = this.#log;
    this.#log = log;
    this.#mustBeReplaced = false;
    this.#isLastVouchedFor = true;
    old.close();
    // What could not be removed is left over, and goes when the store opens the next time.
    removeQuietly(this.#fs, old.path);
  }

  close(): void {
    this.#log.close();
  }
}

async function createManifest(
  fs: FileSystem,
  directory: string,
  number: number,
  state: ManifestState,
): Promise<RecordLogWriter> {
  const path = filePath(directory, number, "manifest");
  const log = await RecordLogWriter.create(fs, { directory, path, magic: MANIFEST_MAGIC, number, mark: 0 });
  let isNamed = false;
  try {
    await appendEdit(log, { ...state, added: state.tables, removed: [] });
    const current = `${directory}/${CURRENT}`;
    const temporary = current + TEMPORARY_SUFFIX;
    fs.remove(temporary);
    const handle = fs.open(temporary, "create");
    try {
      const bytes = encodeCurrent(fileName(number, "manifest"));
      handle.write(bytes, 0, bytes.length, 0);
      await syncOrFail(handle.sync(), temporary);
    } finally {
      handle.close();
    }
    fs.rename(temporary, current);
    isNamed = true;
    await syncOrFail(fs.syncDirectory(directory), directory);
  } catch (error) {
    log.close();
    // What CURRENT names has to stay, also where the sync of that has failed.
    if (!isNamed) removeQuietly(fs, path);
    throw error;
  }
  return log;
}

async function appendEdit(log: RecordLogWriter, edit: VersionEdit): Promise<void> {
  const record = newRecord();
  encodeEdit(record, edit);
  log.seal(record.bytes, 0, record.length, EDIT);
  log.write(record.bytes, record.length);
  await log.sync();
}

/** Appends an edit's encoding to `out`. */
export function encodeEdit(out: GrowingBytes, edit: VersionEdit): void {
  out.u64(edit.nextFileNumber);
  out.u64(edit.lastSequence);
  out.u64(edit.flushedRecord);
  out.u32(edit.added.length);
  for (const table of edit.added) {
    out.u8(table.level);
    out.u64(table.number);
    out.u64(table.bytes);
    out.u64(table.entries);
    out.u64(table.tombstones);
    out.u64(table.rangeTombstones);
    out.u64(table.expiring);
    out.u64(table.latestExpiry);
    out.u64(table.overwritten);
    out.u64(table.largestSequence);
    out.prefixed(table.smallestKey);
    out.prefixed(table.largestKey);
    out.u8(table.largestKeyIncluded ? 1 : 0);
  }
  out.u32(edit.removed.length);
  for (const number of edit.removed) out.u64(number);
}

/** Reads an edit; `path` and `offset` say where it came from. Throws `CORRUPT`. */
export function decodeEdit(bytes: Uint8Array, path: string, offset: number): VersionEdit {
  let at = 0;
  const take = (length: number): number => {
    if (at + length > bytes.length) throw corrupt(path, offset + at, "an edit ends early");
    at += length;
    return at - length;
  };
  const u64 = (): number => {
    const start = take(8);
    if (readU32(bytes, start + 4) >= 0x20_0000)
      throw corrupt(path, offset + start, "a number in an edit is above 2^53");
    return readU64(bytes, start);
  };
  const u32 = (): number => readU32(bytes, take(4));
  const key = (): Uint8Array => {
    const start = take(u32());
    return bytes.slice(start, at);
  };
  const head = { nextFileNumber: u64(), lastSequence: u64(), flushedRecord: u64() };
  const added: TableMeta[] = [];
  for (let left = u32(); left > 0; left--) {
    const level = bytes[take(1)]!;
    const number = u64();
    if (level >= LEVELS) throw corrupt(path, offset, `table ${number} is in level ${level}`);
    added.push({
      level,
      number,
      bytes: u64(),
      entries: u64(),
      tombstones: u64(),
      rangeTombstones: u64(),
      expiring: u64(),
      latestExpiry: u64(),
      overwritten: u64(),
      largestSequence: u64(),
      smallestKey: key(),
      largestKey: key(),
      largestKeyIncluded: bytes[take(1)] === 1,
    });
  }
  const removed: number[] = [];
  for (let left = u32(); left > 0; left--) removed.push(u64());
  if (at !== bytes.length)
    throw corrupt(path, offset + at, `an edit is followed by ${bytes.length - at} bytes`);
  return { ...head, added, removed };
}

/** `CURRENT`: the manifest's name, a space, the XXH64 of the name in 16 hex digits, a line feed. */
export function encodeCurrent(name: string): Uint8Array {
  const checksum = xxh64(new TextEncoder().encode(name)).toString(16).padStart(16, "0");
  return new TextEncoder().encode(`${name} ${checksum}\n`);
}

/** The first `bytesMax` bytes of a file, owned by the caller. Throws `FileError`. */
function readStart(fs: FileSystem, path: string, bytesMax: number): Uint8Array {
  const handle = fs.open(path, "read");
  try {
    const bytes = new Uint8Array(bytesMax);
    return bytes.subarray(0, handle.read(bytes, 0, bytesMax, 0));
  } finally {
    handle.close();
  }
}

function decodeCurrent(bytes: Uint8Array, path: string): string {
  const text = new TextDecoder("latin1").decode(bytes);
  const name = text.slice(0, text.indexOf(" "));
  if (parseFileName(name)?.kind !== "manifest" || new TextDecoder().decode(encodeCurrent(name)) !== text) {
    throw corrupt(
      path,
      0,
      `${JSON.stringify(text.slice(0, 80))} is not the name of a manifest with its checksum`,
    );
  }
  return name;
}
