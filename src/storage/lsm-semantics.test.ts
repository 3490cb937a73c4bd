/** What writes and reads mean: deletes of ranges, values that expire, writes past the log. The oracle's test has the rest. */
import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import type { Log } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import type { DurableEngine, ScanRange, Snapshot, WriteBatch } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function open(fs: MemoryFileSystem, options: Partial<LsmOptions> = {}): Promise<DurableEngine> {
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: SILENT };
  // No compaction but those that are asked for.
  const quiet = { level0Tables: 100, level0TablesSlow: 100, level0TablesStop: 200, walFileBytes: 100_000 };
  return openLsm(env, "/d", { ...quiet, ...options });
}

function batchOf(engine: DurableEngine, fill: (batch: WriteBatch) => void): WriteBatch {
  const batch = engine.newBatch();
  fill(batch);
  return batch;
}

function put(engine: DurableEngine, key: string, value: string, expiresAt = 0): Promise<void> {
  return engine.write(batchOf(engine, (batch) => batch.put(utf8(key), utf8(value), expiresAt)));
}

function deleteRange(engine: DurableEngine, gte: string, lt: string): Promise<void> {
  return engine.write(batchOf(engine, (batch) => batch.deleteRange(utf8(gte), utf8(lt))));
}

function get(engine: DurableEngine, key: string, snapshot?: Snapshot, now?: number): string | undefined {
  const value = engine.getSync(utf8(key), snapshot, now);
  return value === undefined ? undefined : fromUtf8(value);
}

function keys(engine: DurableEngine, range: ScanRange = {}): string {
  const found: string[] = [];
  using iterator = engine.iterate(range);
  while (iterator.next()) found.push(fromUtf8(iterator.key));
  return found.join(" ");
}

test("writes past the log are visible in their turn, and durable with a flush", async () => {
  for (const flushed of [false, true]) {
    const fs = new MemoryFileSystem();
    const engine = await open(fs);
    const unlogged = (key: string, value: string): Promise<void> =>
      engine.write(
        batchOf(engine, (batch) => batch.put(utf8(key), utf8(value))),
        { wal: false },
      );
    // All begun in one turn: the last one of each key wins, whichever way it was written.
    await Promise.all([
      put(engine, "a", "logged 1"),
      unlogged("a", "unlogged 2"),
      put(engine, "b", "logged 3"),
      unlogged("b", "unlogged 4"),
      put(engine, "b", "logged 5"),
      unlogged("c", "unlogged 6"),
    ]);
    const all = ["unlogged 2", "logged 5", "unlogged 6"];
    expect(["a", "b", "c"].map((key) => get(engine, key))).toEqual(all);
    if (flushed) await engine.flush();
    const after = await open(fs.crash(seededRandom(1)));
    // Without the flush, what was logged is there, and the rest as if it had never been.
    const logged = ["logged 1", "logged 5", undefined];
    expect(["a", "b", "c"].map((key) => get(after, key))).toEqual(flushed ? all : logged);
    await after.close();
  }
});

test("a flush takes along what was begun before it, and no more is needed", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  const batch = batchOf(engine, (one) => one.put(utf8("a"), utf8("1")));
  const logged = put(engine, "b", "2");
  const unlogged = engine.write(batch, { wal: false });
  await engine.flush();
  const after = await open(fs.crash(seededRandom(3)));
  expect([get(after, "a"), get(after, "b")]).toEqual(["1", "2"]);
  await after.close();
  await Promise.all([logged, unlogged]);
});

test("many writes past the log seal memtables, and leave no log", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, { memtableBytes: 2000 });
  for (let n = 0; n < 200; n++) {
    const batch = batchOf(engine, (one) => one.put(utf8(`k${n}`), new Uint8Array(50)));
    await engine.write(batch, { wal: false });
  }
  await engine.flush();
  expect(engine.stats().flushes).toBeGreaterThan(5);
  expect(engine.stats().walBytes).toBe(0);
  await engine.close();
  const after = await open(fs);
  expect(keys(after).split(" ").length).toBe(200);
  await after.close();
});

test("a range is deleted wherever its keys lie, and what comes later is not", async () => {
  const engine = await open(new MemoryFileSystem());
  for (const key of ["a", "b", "c", "d", "e"]) await put(engine, key, "bottom");
  await engine.compact();
  await put(engine, "c", "level 0");
  await engine.flush();
  await put(engine, "b", "memtable");
  using before = engine.snapshot();
  using iterator = engine.iterate({});
  await engine.write(
    batchOf(engine, (batch) => {
      batch.put(utf8("bb"), utf8("same batch, before"));
      batch.deleteRange(utf8("b"), utf8("d"));
      batch.put(utf8("cc"), utf8("same batch, after"));
    }),
  );
  const check = (): void => {
    expect(keys(engine)).toBe("a cc d e");
    expect(keys(engine, { reverse: true })).toBe("e d cc a");
    expect(keys(engine, { gte: utf8("b"), lt: utf8("cc") })).toBe("");
    expect(["b", "bb", "c", "cc", "d"].map((key) => get(engine, key))).toEqual([
      undefined,
      undefined,
      undefined,
      "same batch, after",
      "bottom",
    ]);
    expect(keys(engine, { snapshot: before })).toBe("a b c d e");
    expect(get(engine, "b", before)).toBe("memtable");
  };
  check();
  await engine.flush();
  check();
  await engine.compact();
  check();
  const seen: string[] = [];
  while (iterator.next()) seen.push(fromUtf8(iterator.key));
  expect(seen.join(" ")).toBe("a b c d e");
  before.release();
  await engine.compact();
  expect(keys(engine)).toBe("a cc d e");
  await engine.close();
});

test("a range tombstone that moves down hides nothing that is newer, and what it hid stays hidden", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  for (const key of ["a", "m", "z"]) await put(engine, key, "old");
  await engine.compact();
  await deleteRange(engine, "b", "y");
  await engine.flush();
  // Its table overlaps the bottom; a span beside it is merged, and takes the tombstone's table along or not.
  await engine.compact({ gte: utf8("x"), lt: utf8("zz") });
  expect(keys(engine)).toBe("a z");
  await put(engine, "m", "new");
  await engine.flush();
  await engine.compact({ gte: utf8("l"), lt: utf8("n") });
  expect([keys(engine), get(engine, "m")]).toEqual(["a m z", "new"]);
  await engine.close();
  const after = await open(fs);
  expect([keys(after), get(after, "m")]).toEqual(["a m z", "new"]);
  await after.close();
});

test("a range tombstone that changes its level as it is hides what it hid, and nothing newer", async () => {
  const fs = new MemoryFileSystem();
  // Small levels: there is one to move to above the bottom.
  const levels = { level0Tables: 1, level1Bytes: 1000, levelSizeRatio: 2, tableBytes: 1000 };
  let engine = await open(fs, levels);
  const name = (n: number): string => `k${String(n).padStart(2, "0")}`;
  for (let n = 0; n < 60; n++) await put(engine, name(n), "x".repeat(50));
  await engine.compact();
  const range = { gte: utf8(name(8)), lt: utf8(name(15)) };
  using before = engine.snapshot();
  /** Looks at all states that the tables go through on their way down. */
  const settled = async (expected: string): Promise<void> => {
    await engine.flush();
    for (let i = 0; i < 500; i++) {
      expect(keys(engine, range)).toBe(expected);
      expect(
        keys(engine, { ...range, reverse: true })
          .split(" ")
          .reverse()
          .join(" "),
      ).toBe(expected);
      expect(get(engine, name(12))).toBeUndefined();
      expect(keys(engine, { ...range, snapshot: before }).split(" ").length).toBe(7);
      await Promise.resolve();
    }
  };
  const moved = engine.stats().tablesMoved;
  await engine.write(
    batchOf(engine, (batch) => {
      batch.deleteRange(utf8(name(10)), utf8(name(13)));
      batch.put(utf8(name(9)), utf8("new"));
    }),
  );
  await settled("k08 k09 k13 k14");
  expect(engine.stats().tablesMoved).toBeGreaterThan(moved);
  await put(engine, name(11), "newer");
  await settled("k08 k09 k11 k13 k14");
  expect([get(engine, name(11)), get(engine, name(9))]).toEqual(["newer", "new"]);
  before.release();
  await engine.close();
  engine = await open(fs, levels);
  expect(keys(engine, range)).toBe("k08 k09 k11 k13 k14");
  await engine.close();
});

test("a scan leaps over what was deleted as a range, and misses nothing in between", async () => {
  const engine = await open(new MemoryFileSystem(), { blockCacheBytes: 1 << 20, blockBytes: 256 });
  const name = (n: number): string => `k${String(n).padStart(5, "0")}`;
  const batch = engine.newBatch();
  for (let n = 0; n < 10_000; n++) batch.put(utf8(name(n)), utf8("old"));
  await engine.write(batch);
  await engine.compact();
  // Something newer in the middle of the range: in a table that is newer than the delete's, and in the memtable.
  await deleteRange(engine, name(100), name(9900));
  await put(engine, name(9899), "newer, in the same memtable");
  await engine.flush();
  await put(engine, name(3000), "newer, in a table");
  await engine.flush();
  await put(engine, name(7000), "newer, in the memtable");
  const reads = (): number => engine.stats().blockCacheHits + engine.stats().blockCacheMisses;
  const check = (): void => {
    const before = reads();
    const inside = { gte: utf8(name(100)), lt: utf8(name(9901)) };
    const found = [name(3000), name(7000), name(9899), name(9900)];
    expect(keys(engine, inside)).toBe(found.join(" "));
    expect(keys(engine, { ...inside, reverse: true })).toBe(found.reverse().join(" "));
    // All of it are some 800 blocks, both ways.
    expect(reads() - before).toBeLessThan(60);
  };
  check();
  // The same with another delete of it all in the memtable, under which only what is newer still is found.
  await deleteRange(engine, name(50), name(9950));
  await put(engine, name(3000), "newer");
  await put(engine, name(7000), "newer");
  await put(engine, name(9899), "newer");
  await put(engine, name(9900), "newer");
  check();
  expect(keys(engine).split(" ").length).toBe(50 + 4 + 50);
  await engine.close();
});

test("a scan at a snapshot leaps over what was deleted then, and not over what was deleted later", async () => {
  const engine = await open(new MemoryFileSystem());
  const name = (n: number): string => `k${String(n).padStart(3, "0")}`;
  const batch = engine.newBatch();
  for (let n = 0; n < 300; n++) batch.put(utf8(name(n)), utf8("old"));
  await engine.write(batch);
  await engine.compact();
  await deleteRange(engine, name(100), name(120));
  await engine.flush();
  using then = engine.snapshot();
  await deleteRange(engine, name(50), name(250));
  const expected = Array.from({ length: 300 }, (_, n) => name(n)).filter((_, n) => n < 100 || n >= 120);
  expect(keys(engine, { snapshot: then })).toBe(expected.join(" "));
  expect(keys(engine, { snapshot: then, reverse: true })).toBe(expected.reverse().join(" "));
  expect(keys(engine).split(" ").length).toBe(100);
  await engine.close();
});

test("deletes of ranges come back from the log", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  for (const key of ["a", "b", "c"]) await put(engine, key, "1");
  await engine.flush();
  await deleteRange(engine, "a", "c");
  await deleteRange(engine, "c", "b");
  const crashed = await open(fs.crash(seededRandom(4)));
  expect(keys(crashed)).toBe("c");
  await crashed.close();
});

test("a memtable with nothing but deletes of ranges is sealed, flushed and found again", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, { memtableBytes: 3000 });
  for (const key of ["a", "b", "c"]) await put(engine, key, "1");
  await engine.flush();
  const flushes = engine.stats().flushes;
  for (let n = 0; n < 100; n++) await deleteRange(engine, `b${n}`, `b${n + 1}`);
  await deleteRange(engine, "b", "c");
  expect(engine.stats().flushes).toBeGreaterThan(flushes + 2);
  await engine.flush();
  await engine.close();
  const after = await open(fs);
  expect(keys(after)).toBe("a c");
  await after.compact();
  expect(keys(after)).toBe("a c");
  expect(after.stats().tables).toBe(1);
  await after.close();
});

test("a value is gone from its time on, and hides what it overwrote", async () => {
  const engine = await open(new MemoryFileSystem());
  await put(engine, "k", "old");
  await engine.compact();
  using before = engine.snapshot();
  await put(engine, "k", "short", 1000);
  await put(engine, "l", "stays", 2000);
  const check = (): void => {
    expect(get(engine, "k", undefined, 999)).toBe("short");
    expect(get(engine, "k", undefined, 1000)).toBeUndefined();
    expect(get(engine, "k", before, 5000)).toBe("old");
    expect(keys(engine, { now: 999 })).toBe("k l");
    expect(keys(engine, { now: 1000 })).toBe("l");
    expect(keys(engine, { now: 1000, reverse: true })).toBe("l");
    expect(keys(engine, { now: 2000 })).toBe("");
  };
  check();
  await engine.flush();
  check();
  await engine.compact();
  check();
  engine.advanceTime(1500);
  engine.advanceTime(10);
  expect([get(engine, "k", undefined, 10), keys(engine), get(engine, "k", before)]).toEqual([
    undefined,
    "l",
    "old",
  ]);
  before.release();
  await engine.compact();
  expect([get(engine, "k"), keys(engine)]).toEqual([undefined, "l"]);
  engine.advanceTime(2000);
  await engine.compact();
  expect(engine.stats().tables).toBe(0);
  await engine.close();
});

test("a scan for keys gives no values, and one to a limit ends there", async () => {
  const engine = await open(new MemoryFileSystem());
  for (const key of ["a", "b", "c"]) await put(engine, key, "value");
  using iterator = engine.iterate({ keysOnly: true, limit: 2 });
  expect([iterator.next(), fromUtf8(iterator.key), iterator.value.length]).toEqual([true, "a", 0]);
  expect([iterator.next(), iterator.next()]).toEqual([true, false]);
  await engine.close();
});

test("a snapshot that was released, or is another store's, is refused", async () => {
  const engine = await open(new MemoryFileSystem());
  const other = await open(new MemoryFileSystem());
  const foreign = other.snapshot();
  const released = engine.snapshot();
  released.release();
  for (const snapshot of [foreign, released]) {
    expect(() => engine.getSync(utf8("a"), snapshot)).toThrow("a snapshot that was released");
    expect(() => engine.iterate({ snapshot })).toThrow("a snapshot that was released");
  }
  await other.close();
  await engine.close();
});
