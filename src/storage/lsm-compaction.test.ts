import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import type { Background, Log } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { COMPACT_JOB, FLUSH_JOB } from "./background-jobs.ts";
import type { Engine } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";

const DIRECTORY = "/d";
const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
const OPTIONS = {
  blockBytes: 200,
  memtableBytes: 1e6,
  tableBytes: 1500,
  level0Tables: 3,
  level1Bytes: 4000,
  levelSizeRatio: 3,
  retryMs: 1,
};
/** Nothing is compacted unless somebody asks for it. */
const QUIET = {
  level0Tables: 100,
  level0TablesSlow: 100,
  level0TablesStop: 100,
  level1Bytes: 1e9,
  garbageShare: 0.99,
};

function open(
  fs: MemoryFileSystem,
  options: Partial<LsmOptions> = {},
  background: Background = inlineBackground(fs),
): Promise<Engine> {
  const env = { fs, background, clock: systemClock(), log: SILENT };
  return openLsm(env, DIRECTORY, { ...OPTIONS, ...options });
}

const key = (n: number): Uint8Array => utf8(`key${String(n).padStart(5, "0")}`);

async function put(engine: Engine, first: number, count: number, value: string, step = 1): Promise<void> {
  const batch = engine.newBatch();
  for (let i = 0; i < count; i++) batch.put(key(first + i * step), utf8(value));
  await engine.write(batch);
  await engine.flush();
}

async function remove(engine: Engine, first: number, count: number): Promise<void> {
  const batch = engine.newBatch();
  for (let i = 0; i < count; i++) batch.delete(key(first + i));
  await engine.write(batch);
  await engine.flush();
}

function contents(engine: Engine): string[] {
  const found: string[] = [];
  using iterator = engine.iterate({});
  while (iterator.next()) found.push(`${fromUtf8(iterator.key)}=${fromUtf8(iterator.value)}`);
  return found;
}

/** Waits until `condition` holds, letting timers and background work run. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const tableFiles = (fs: MemoryFileSystem): string[] =>
  fs.list(DIRECTORY).filter((name) => name.endsWith(".table"));

test("tables that overlap nothing change their level without being rewritten, and are still read", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, { level1Bytes: 1e9 });
  for (let i = 0; i < 2; i++) await put(engine, i * 100, 50, `value ${i}`);
  const before = contents(engine);
  using snapshot = engine.snapshot();
  const held = engine.iterate({ snapshot });
  held.next();
  const files = tableFiles(fs);
  await put(engine, 200, 50, "value 2");
  await until(() => engine.stats().tablesPerLevel[0] === 0);
  const stats = engine.stats();
  expect([stats.compactions, stats.compactionBytesWritten, stats.tables]).toEqual([0, 0, 3]);
  expect(tableFiles(fs)).toEqual(expect.arrayContaining(files));
  let count = 1;
  while (held.next()) count++;
  expect(count).toBe(before.length);
  held.close();
  expect(tableFiles(fs).length).toBe(3);
  const after = contents(engine);
  expect(after.length).toBe(150);
  await engine.close();
  const again = await open(fs, { level1Bytes: 1e9 });
  expect(again.stats().tablesPerLevel[0]).toBe(0);
  expect(contents(again)).toEqual(after);
  await again.close();
});

test("a crash while tables move leaves them in one level or the other", async () => {
  // The first run counts the operations of the move.
  let operations = 0;
  for (let crashAt = 0; crashAt <= operations; crashAt++) {
    const fs = new MemoryFileSystem();
    const engine = await open(fs, { level1Bytes: 1e9 });
    await put(engine, 0, 20, "a");
    await put(engine, 100, 20, "b");
    const flushed = put(engine, 200, 20, "c").catch(() => {});
    let seen = 0;
    let crashed: MemoryFileSystem | undefined;
    fs.onOperation = () => {
      seen++;
      if (seen === crashAt) crashed = fs.crash(seededRandom(crashAt));
    };
    await flushed;
    await until(() => crashed !== undefined || engine.stats().tablesPerLevel[0] === 0);
    await engine.close().catch(() => {});
    if (crashAt === 0) operations = seen;
    else {
      const again = await open(crashed!, { level1Bytes: 1e9 });
      const found = contents(again);
      expect([40, 60]).toContain(found.length);
      await put(again, 50, 20, "d");
      await until(() => again.stats().tablesPerLevel[0]! < 3);
      expect(contents(again).length).toBe(found.length + 20);
      await until(() => tableFiles(crashed!).length === again.stats().tables);
      await again.close();
    }
  }
  expect(operations).toBeGreaterThan(5);
});

test("compact gives back the space of what was deleted and overwritten", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, QUIET);
  for (let i = 0; i < 5; i++) await put(engine, 0, 1000, `value ${i}`);
  await remove(engine, 0, 900);
  const before = contents(engine);
  const bytes = engine.stats().tableBytes;
  await engine.compact();
  const { tableBytes, tablesPerLevel } = engine.stats();
  expect(contents(engine)).toEqual(before);
  expect(tableBytes).toBeLessThan(bytes / 30);
  expect(tablesPerLevel.slice(0, -1)).toEqual([0, 0, 0, 0, 0, 0]);
  await until(() => tableFiles(fs).length === engine.stats().tables);
  // There is nothing left to do.
  const done = engine.stats().compactions;
  await engine.compact();
  expect(engine.stats().compactions).toBe(done);
  await engine.close();
});

test("compact of a span leaves the tables outside of it", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, QUIET);
  await put(engine, 0, 1000, "value");
  await engine.compact();
  await until(() => tableFiles(fs).length === engine.stats().tables);
  const untouched = tableFiles(fs);
  await put(engine, 0, 5, "low");
  await put(engine, 500, 5, "middle");
  await put(engine, 990, 5, "high");
  await engine.compact({ gte: key(400), lt: key(600) });
  expect(engine.stats().tablesPerLevel[0]).toBe(2);
  const left = tableFiles(fs);
  expect(untouched.filter((name) => !left.includes(name)).length).toBeLessThan(3);
  expect(contents(engine).filter((line) => line.endsWith("middle")).length).toBe(5);
  await engine.close();
});

test("compact keeps what a snapshot sees, and takes it when the snapshot is gone and it is asked again", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, QUIET);
  await put(engine, 0, 500, "old");
  const snapshot = engine.snapshot();
  await remove(engine, 0, 500);
  await engine.compact();
  expect(contents(engine)).toEqual([]);
  expect(fromUtf8(engine.getSync(key(77), snapshot)!)).toBe("old");
  snapshot.release();
  await engine.compact();
  expect(engine.stats().tables).toBe(0);
  await until(() => tableFiles(fs).length === 0);
  await engine.close();
});

test("what was overwritten and a snapshot kept goes when the snapshot is gone, by compact or unasked", async () => {
  for (const unasked of [false, true]) {
    const fs = new MemoryFileSystem();
    const engine = await open(fs, { level1Bytes: 1e9 });
    await put(engine, 0, 500, "old");
    const snapshot = engine.snapshot();
    await put(engine, 0, 500, "new");
    await engine.compact();
    const both = engine.stats().tableBytes;
    expect(fromUtf8(engine.getSync(key(77), snapshot)!)).toBe("old");
    await engine.compact();
    expect(engine.stats().tableBytes).toBe(both);
    snapshot.release();
    if (unasked) await put(engine, 1000, 1, "later");
    else await engine.compact();
    await until(() => engine.stats().tableBytes < 0.75 * both);
    expect(contents(engine).slice(0, 2)).toEqual(["key00000=new", "key00001=new"]);
    await engine.close();
  }
}, 2000);

test("compact takes range deletes and expired values with it", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, QUIET);
  const batch = engine.newBatch();
  for (let n = 0; n < 300; n++) batch.put(key(n), utf8("expiring"), 1000);
  for (let n = 300; n < 600; n++) batch.put(key(n), utf8("deleted"));
  await engine.write(batch);
  await engine.flush();
  const range = engine.newBatch();
  range.deleteRange(key(300), key(590));
  await engine.write(range);
  engine.advanceTime(1000);
  await engine.compact();
  expect(contents(engine).length).toBe(10);
  expect(engine.stats().tables).toBe(1);
  expect(engine.stats().tableBytes).toBeLessThan(1000);
  await engine.close();
});

test("garbage is compacted unasked when a level is not full", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, { level0Tables: 2, level1Bytes: 1e9 });
  await put(engine, 0, 500, "value");
  await put(engine, 250, 500, "value");
  await until(() => engine.stats().tablesPerLevel[0] === 0);
  const batch = engine.newBatch();
  for (let n = 0; n < 750; n++) batch.put(key(n), utf8("expiring"), 5000);
  await engine.write(batch);
  await engine.flush();
  await put(engine, 0, 1, "x");
  await until(() => engine.stats().tablesPerLevel[0] === 0);
  engine.advanceTime(4999);
  engine.advanceTime(5000);
  await until(() => engine.stats().tables <= 1);
  expect(contents(engine)).toEqual(["key00000=x"]);
  await engine.close();
});

test("close does not wait for a long compaction, and nothing of it is left", async () => {
  const fs = new MemoryFileSystem();
  let pauses = 0;
  const other = inlineBackground(fs);
  const slow = inlineBackground(fs, async () => {
    pauses++;
    await new Promise((resolve) => setImmediate(resolve));
  });
  const background: Background = {
    run: (job, argument) => (job === COMPACT_JOB ? slow : other).run(job, argument),
    close: async () => {},
  };
  const engine = await open(
    fs,
    { ...QUIET, memtableBytes: 1e7, tableBytes: 1e6, blockBytes: 4096 },
    background,
  );
  for (let i = 0; i < 3; i++) await put(engine, 0, 40_000, `value ${i}`);
  const files = tableFiles(fs);
  pauses = 0;
  let rejected: unknown;
  const compacted = engine.compact().catch((error: unknown) => {
    rejected = error;
  });
  await until(() => pauses > 2);
  const before = pauses;
  await engine.close();
  await compacted;
  expect(pauses - before).toBeLessThan(3);
  expect(rejected).toMatchObject({ code: "CLOSED" });
  expect(tableFiles(fs)).toEqual(files);
});

test("a compaction that somebody waits for and finds the disk full goes on when there is space", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, QUIET);
  for (let i = 0; i < 3; i++) await put(engine, 0, 300, `value ${i}`);
  let failures = 0;
  fs.onOperation = (operation, path) => {
    if (operation !== "write" || !path.endsWith(".table") || failures >= 3) return;
    failures++;
    throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
  };
  await engine.compact();
  expect(failures).toBe(3);
  expect(engine.stats().tablesPerLevel[0]).toBe(0);
  expect(contents(engine).length).toBe(300);
  await engine.close();
});

test("a flush shares its thread with a compaction", async () => {
  const fs = new MemoryFileSystem();
  let pauses = 0;
  const other = inlineBackground(fs);
  const counted = inlineBackground(fs, async () => void pauses++);
  const background: Background = {
    run: (job, argument) => (job === FLUSH_JOB ? counted : other).run(job, argument),
    close: async () => {},
  };
  const engine = await open(
    fs,
    { ...QUIET, memtableBytes: 1e7, tableBytes: 1e6, blockBytes: 4096 },
    background,
  );
  await put(engine, 0, 70_000, "value");
  // Before it begins, and twice in between.
  expect(pauses).toBe(3);
  await engine.close();
});

test("a compaction that somebody waits for and meets damage says so", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, QUIET);
  for (let i = 0; i < 2; i++) await put(engine, 0, 100, `value ${i}`);
  const path = `${DIRECTORY}/${tableFiles(fs)[0]}`;
  const bytes = fs.readFile(path);
  bytes[5]! ^= 1;
  fs.writeFile(path, bytes);
  await expect(engine.compact()).rejects.toThrow(`${path}: damaged at offset 0`);
  await expect(engine.compact()).rejects.toMatchObject({ code: "FAILED" });
  await engine.close();
});

test("the figures tell what was written, and what is where", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, QUIET);
  for (let i = 0; i < 3; i++) await put(engine, 0, 500, `value ${i}`);
  const before = engine.stats();
  expect([before.writeAmplification, before.compactionDebt]).toEqual([1, 0]);
  expect(before.bytesPerLevel[0]).toBe(before.tableBytes);
  engine.getSync(key(7));
  engine.getSync(key(8));
  expect(engine.stats().readsPerLevel[0]).toBe(2);
  await engine.compact();
  engine.getSync(key(7));
  const stats = engine.stats();
  expect(stats.readsPerLevel).toEqual([2, 0, 0, 0, 0, 0, 1]);
  expect(stats.bytesPerLevel[6]).toBe(stats.tableBytes);
  expect(stats.writeAmplification).toBeCloseTo(1 + stats.compactionBytesWritten / stats.flushBytesWritten, 5);
  await put(engine, 0, 500, "more");
  const after = engine.stats();
  expect(after.spaceAmplification).toBeCloseTo(
    (after.bytesPerLevel[0]! + stats.tableBytes) / stats.tableBytes,
    5,
  );
  expect(after.spaceAmplification).toBeGreaterThan(1.5);
  expect([stats.pressureCause, stats.writeDelays, stats.writeStopMs]).toEqual([undefined, 0, 0]);
  await engine.close();
});
