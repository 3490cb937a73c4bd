/** Stores for the tests of the tools: on a disk in memory, with tables in several levels and a log. */
import { inlineBackground } from "../../../test/support/inline-background.ts";
import type { MemoryFileSystem } from "../../../test/support/memory-fs.ts";
import type { Log } from "../../env/env.ts";
import { systemClock } from "../../env/system-clock.ts";
import { fromUtf8, utf8 } from "../../lib/bytes.ts";
import type { DurableEngine, Engine } from "../engine.ts";
import { openLsm } from "../lsm.ts";
import type { LsmOptions } from "../lsm-options.ts";

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
export const DIRECTORY = "/d/store";

export const SMALL: Partial<LsmOptions> = {
  memtableBytes: 6000,
  tableBytes: 3000,
  blockBytes: 300,
  partitionBytes: 200,
  level0Tables: 3,
  level1Bytes: 8000,
  levelSizeRatio: 3,
  retryMs: 1,
};

export function openStore(
  fs: MemoryFileSystem,
  directory = DIRECTORY,
  options: Partial<LsmOptions> = SMALL,
): Promise<DurableEngine> {
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: SILENT };
  return openLsm(env, directory, options);
}

export function keyOf(n: number): string {
  return `key${String(n).padStart(4, "0")}`;
}

/** Writes the keys `first` and after, `count` of them, one batch each ten. */
export async function fill(engine: Engine, first: number, count: number, value: string): Promise<void> {
  for (let at = first; at < first + count; at += 10) {
    const batch = engine.newBatch();
    for (let n = at; n < Math.min(at + 10, first + count); n++)
      batch.put(utf8(keyOf(n)), utf8(`${value} of ${n}`));
    await engine.write(batch);
  }
}

/** All that a store holds, as scans and gets agree. */
export function contentsOf(engine: Engine): Map<string, string> {
  const found = new Map<string, string>();
  using iterator = engine.iterate({});
  while (iterator.next()) found.set(fromUtf8(iterator.key), fromUtf8(iterator.value));
  for (const [key, value] of found) {
    const got = engine.getSync(utf8(key));
    // A scan merges by sequence numbers, a get trusts the levels.
    if (got === undefined || fromUtf8(got) !== value)
      throw new Error(`a get of ${key} does not find ${value}`);
  }
  return found;
}

/** What the store in a directory holds, by opening it. */
export async function reopened(fs: MemoryFileSystem, directory = DIRECTORY): Promise<Map<string, string>> {
  const engine = await openStore(fs, directory);
  const found = contentsOf(engine);
  await engine.close();
  return found;
}

/**
 * A closed store: 500 keys in tables of several levels, some overwritten, deleted and range-deleted, some that expire, and
 * 60 more in the log only. Returns what is in it.
 */
export async function makeStore(
  fs: MemoryFileSystem,
  options: Partial<LsmOptions> = SMALL,
): Promise<Map<string, string>> {
  const engine = await openStore(fs, DIRECTORY, options);
  await fill(engine, 0, 500, "first");
  await fill(engine, 100, 200, "second");
  const batch = engine.newBatch();
  for (let n = 150; n < 160; n++) batch.delete(utf8(keyOf(n)));
  batch.deleteRange(utf8(keyOf(400)), utf8(keyOf(420)));
  batch.put(utf8("expiring"), utf8("later"), 4_000_000_000_000);
  await engine.write(batch);
  await engine.flush();
  await fill(engine, 600, 60, "log");
  const contents = contentsOf(engine);
  await engine.close();
  return contents;
}

/** The files of a kind, by name. */
export function filesOf(fs: MemoryFileSystem, kind: "table" | "wal" | "manifest"): string[] {
  return fs.list(DIRECTORY).filter((name) => name.endsWith(`.${kind}`));
}

/** Flips a bit of a file. */
export function damage(fs: MemoryFileSystem, name: string, offset: number): void {
  const path = `${DIRECTORY}/${name}`;
  const bytes = fs.readFile(path);
  bytes[offset < 0 ? bytes.length + offset : offset]! ^= 4;
  fs.writeFile(path, bytes);
}

/** An image of a directory: the bytes of all its files. */
export function imageOf(fs: MemoryFileSystem, directory = DIRECTORY): Record<string, string> {
  return Object.fromEntries(
    fs
      .list(directory)
      .filter((name) => name !== "lost")
      .map((name) => [name, Buffer.from(fs.readFile(`${directory}/${name}`)).toString("base64")]),
  );
}
