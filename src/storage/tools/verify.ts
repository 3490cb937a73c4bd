/**
 * Checks all of a store, changing nothing: what `CURRENT` and the manifest say, every table, every log file, and how they
 * fit together. It goes on behind what is damaged, so that one run tells everything.
 */
import type { FileSystem } from "../../env/env.ts";
import { CURRENT, fileName, filePath, LOCK, parseFileName, TEMPORARY_SUFFIX } from "../file-names.ts";
import { byStart, overlap } from "../key-range.ts";
import { MANIFEST_MAGIC, type ManifestState, readManifest, type TableMeta } from "../manifest.ts";
import { corrupt, StorageError } from "../storage-error.ts";
import { WAL_MAGIC } from "../wal-files.ts";
import { RECORD_BATCH, RECORD_END, surveyWal } from "../wal-recovery.ts";
import { surveyLog } from "./log-survey.ts";
import { counted, showBytes, showSize } from "./printable.ts";
import type { Problem } from "./problem.ts";
import { attempt } from "./table-survey.ts";
import { verifyTable } from "./verify-table.ts";

/** Where unfinished work is told: how many bytes there are to read, and how many were read since the last call. */
export interface Progress {
  begin(totalBytes: number): void;
  advance(bytes: number): void;
}

export interface StoreReport {
  readonly problems: readonly Problem[];
  /** What is worth knowing and no damage. */
  readonly notes: readonly string[];
  readonly summary: string;
}

/** What a directory holds, by kind. */
export interface Inventory {
  readonly tables: readonly number[];
  readonly logs: readonly number[];
  readonly manifests: readonly number[];
  readonly hasCurrent: boolean;
  readonly temporary: readonly string[];
  /** Names that a store has no use for. */
  readonly foreign: readonly string[];
}

export function inventoryOf(fs: FileSystem, directory: string): Inventory {
  const numbers = { table: [] as number[], wal: [] as number[], manifest: [] as number[] };
  const temporary: string[] = [];
  const foreign: string[] = [];
  let hasCurrent = false;
  for (const name of fs.list(directory)) {
    const parsed = parseFileName(name);
    if (parsed !== undefined) numbers[parsed.kind].push(parsed.number);
    else if (name === CURRENT) hasCurrent = true;
    else if (name.endsWith(TEMPORARY_SUFFIX)) temporary.push(name);
    else if (!name.startsWith(LOCK)) foreign.push(name);
  }
  for (const list of Object.values(numbers)) list.sort((a, b) => a - b);
  const { table: tables, wal: logs, manifest: manifests } = numbers;
  return { tables, logs, manifests, hasCurrent, temporary, foreign };
}

export function isStore({ tables, logs, manifests, hasCurrent }: Inventory): boolean {
  return hasCurrent || tables.length + logs.length + manifests.length > 0;
}

/** Checks the store in `directory`, which nobody else may change meanwhile. Throws `FileError`, and `NEWER`. */
export function verifyStore(fs: FileSystem, directory: string, progress: Progress): StoreReport {
  const inventory = inventoryOf(fs, directory);
  const problems: Problem[] = [];
  const notes: string[] = [];
  const sizes = new Map(
    [
      ...inventory.tables.map((n) => filePath(directory, n, "table")),
      ...inventory.logs.map((n) => filePath(directory, n, "wal")),
    ].map((path) => [path, sizeOf(fs, path)]),
  );
  progress.begin([...sizes.values()].reduce((sum, bytes) => sum + bytes, 0));

  const state = stateOf(fs, directory, problems);
  const metas = new Map(state?.tables.map((meta) => [meta.number, meta]));
  if (state !== undefined) {
    checkState(directory, state, problems);
    for (const number of inventory.manifests)
      notes.push(...manifestTail(fs, filePath(directory, number, "manifest"), number));
  }
  const present = new Set(inventory.tables);
  for (const meta of metas.values()) {
    if (!present.has(meta.number)) problems.push({ path: directory, offset: 0, what: missingText(meta) });
  }
  let entries = 0;
  for (const number of inventory.tables) {
    const path = filePath(directory, number, "table");
    const meta = metas.get(number);
    if (state !== undefined && meta === undefined) {
      notes.push(
        `${path}: no part of the store, it goes when the store is opened (${showSize(sizes.get(path)!)})`,
      );
      progress.advance(sizes.get(path)!);
      continue;
    }
    if (meta !== undefined && meta.bytes !== sizes.get(path)) {
      const what = `the file has ${sizes.get(path)} bytes, and was written with ${meta.bytes}`;
      problems.push({ path, offset: Math.min(sizes.get(path)!, meta.bytes), what });
    }
    const check = verifyTable(fs, path, number, meta, (bytes) => progress.advance(bytes));
    problems.push(...check.problems);
    entries += check.entries;
  }
  const records = verifyLogs(fs, directory, inventory.logs, state, problems, notes, progress);
  for (const name of inventory.temporary)
    notes.push(`${directory}/${name}: left over, it goes when the store is opened`);
  for (const name of inventory.foreign) notes.push(`${directory}/${name}: no file of the store, it stays`);
  for (const number of inventory.manifests.slice(0, -1))
    notes.push(`${filePath(directory, number, "manifest")}: left over, it goes when the store is opened`);

  const tables = state === undefined ? inventory.tables.length : metas.size;
  const found = problems.length === 0 ? "no problems" : counted(problems.length, "problem");
  const summary = `${found}: ${counted(tables, "table")} with ${counted(entries, "entry", "entries")}, ${counted(inventory.logs.length, "log file")} with ${counted(records, "record")}`;
  return { problems, notes, summary };
}

export function missingText({ number, level, entries, smallestKey, largestKey }: TableMeta): string {
  return `${fileName(number, "table")} of level ${level} is missing: ${counted(entries, "entry", "entries")} from ${showBytes(smallestKey)} to ${showBytes(largestKey)}`;
}

/** What the manifest says; `undefined`, and a problem, if it can't be read. */
function stateOf(fs: FileSystem, directory: string, problems: Problem[]): ManifestState | undefined {
  try {
    const state = readManifest(fs, directory);
    if (state === undefined)
      throw corrupt(
        `${directory}/${CURRENT}`,
        0,
        "the file is missing, but there are tables, logs or manifests",
      );
    return state;
  } catch (error) {
    if (!(error instanceof StorageError) || error.damage === undefined) throw error;
    problems.push(error.damage);
    return undefined;
  }
}

/** Where a manifest ends with an edit that was never finished. */
function manifestTail(fs: FileSystem, path: string, number: number): string[] {
  for (const part of surveyLog(fs, path, MANIFEST_MAGIC, number)) {
    if (part.kind === "damage")
      return [
        `${path}: offset ${part.offset}: the last edit was never finished, or is damaged; it does not count`,
      ];
  }
  return [];
}

/** The tables of a level don't overlap, and the numbers are below those that will be given out. */
function checkState(directory: string, state: ManifestState, problems: Problem[]): void {
  const add = (what: string): void =>
    void problems.push({ path: `${directory}/${CURRENT}`, offset: 0, what });
  for (const { number, largestSequence } of state.tables) {
    if (number >= state.nextFileNumber)
      add(`the manifest has table ${number}, and would give out ${state.nextFileNumber} next`);
    if (largestSequence > state.lastSequence)
      add(
        `table ${number} has sequence number ${largestSequence}, above the last one, ${state.lastSequence}`,
      );
  }
  const byLevel = Map.groupBy(state.tables, ({ level }) => level);
  for (const [level, tables] of byLevel) {
    if (level === 0) continue;
    const sorted = tables.toSorted(byStart);
    for (let i = 1; i < sorted.length; i++) {
      if (overlap(sorted[i - 1]!, sorted[i]!))
        add(`tables ${sorted[i - 1]!.number} and ${sorted[i]!.number} of level ${level} overlap`);
    }
  }
}

/** Returns how many records there are. */
function verifyLogs(
  fs: FileSystem,
  directory: string,
  numbers: readonly number[],
  state: ManifestState | undefined,
  problems: Problem[],
  notes: string[],
  progress: Progress,
): number {
  let count = 0;
  /** Of the newest file. Those before it were used again, and what is behind their records means nothing. */
  let tail: string | undefined;
  const found: Problem[] = [];
  // Without a manifest it is not known which records are in tables: the first file shows where the log begins now.
  let flushed = state?.flushedRecord;
  for (const number of numbers) {
    const path = filePath(directory, number, "wal");
    let expected: number | undefined;
    for (const part of surveyLog(fs, path, WAL_MAGIC, number)) {
      if (part.kind === "header") {
        if (part.mark === 0) break;
        tail = undefined;
        expected = part.mark;
        flushed ??= part.mark - 1;
      } else if (part.kind === "damage") {
        if (part.isTail && expected !== undefined)
          notes.push(
            `${path}: offset ${part.offset}: the log ends here; what is behind was never finished, or is old`,
          );
        else found.push({ path, offset: part.offset, what: part.what });
        if (part.isTail) break;
      } else {
        progress.advance(part.payload.length);
        if (part.type === RECORD_END) break;
        if (part.type === RECORD_BATCH) count++;
      }
    }
  }
  if (tail !== undefined) notes.push(tail);
  const survey = attempt(() => surveyWal(fs, directory, numbers, flushed ?? 0));
  // The engine's judgement is what counts; what else is there is told only with it.
  if (!survey.ok) {
    const { path, offset, what } = survey.damage ?? { path: directory, offset: 0, what: survey.what };
    problems.push({ path, offset, what });
    for (const problem of found)
      if (problem.path !== path || problem.offset !== offset) problems.push(problem);
  }
  return count;
}

function sizeOf(fs: FileSystem, path: string): number {
  const handle = fs.open(path, "read");
  try {
    return handle.size();
  } finally {
    handle.close();
  }
}
