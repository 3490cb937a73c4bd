import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { FileError, type Log } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import type { Engine } from "./engine.ts";
import { openLsm } from "./lsm.ts";

const LARGE = { memtableBytes: 10_000_000 };
const SMALL = { memtableBytes: 2000, level0Tables: 100, level0TablesSlow: 100, level0TablesStop: 100 };

/** Opens the store; `entries` tells how many entries its log had left for the memtable. */
async function open(
  fs: MemoryFileSystem,
  options: typeof LARGE,
): Promise<{ engine: Engine; entries: number }> {
  let entries = -1;
  const info: Log["info"] = (_message, fields) => {
    if (fields?.recoveredEntries !== undefined) entries = Number(fields.recoveredEntries);
  };
  const log = { debug: () => {}, info, warn: () => {}, error: () => {} };
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log };
  return { engine: await openLsm(env, "/d/store", options), entries };
}

async function put(engine: Engine, key: string, value: string): Promise<void> {
  const batch = engine.newBatch();
  batch.put(utf8(key), utf8(value));
  await engine.write(batch, { sync: true });
}

function get(engine: Engine, key: string): string {
  return fromUtf8(engine.getSync(utf8(key)) ?? utf8("nothing"));
}

/** A disk on which a process was killed that had put `count` times, all of it in the log. */
async function killedAfter(count: number): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem();
  const { engine } = await open(fs, LARGE);
  for (let i = 0; i < count; i++) await put(engine, `key ${i % 10}`, `value ${i} ${"x".repeat(100)}`);
  return fs.copy();
}

test("a log that is more than a memtable becomes tables before the store is open", async () => {
  const fs = await killedAfter(205);
  const first = await open(fs, SMALL);
  expect(first.engine.stats().tables).toBeGreaterThan(5);
  expect(first.engine.stats().memtableBytes).toBeLessThan(2200);
  for (let i = 195; i < 205; i++) expect(get(first.engine, `key ${i % 10}`)).toStartWith(`value ${i} `);
  // What is in tables is not met again, nor written again.
  const { tables } = first.engine.stats();
  const second = await open(fs.copy(), SMALL);
  expect(second.entries).toBe(first.entries);
  expect(second.engine.stats().tables).toBe(tables);
});

test("what is written after such an opening is newer than what the log held", async () => {
  // Every put is a table of its own: nothing is left for the memtable.
  const fs = await killedAfter(5);
  const { engine, entries } = await open(fs, { ...SMALL, memtableBytes: 1 });
  expect(entries).toBe(0);
  const again = await open(fs.copy(), LARGE);
  await put(again.engine, "key 3", "new");
  await again.engine.flush();
  expect(get(again.engine, "key 3")).toBe("new");
  using iterator = again.engine.iterate({});
  const values: string[] = [];
  while (iterator.next()) values.push(fromUtf8(iterator.value).split(" x")[0]!);
  expect(values).toEqual(["value 0", "value 1", "value 2", "new", "value 4"]);
  expect(get(engine, "key 3")).toStartWith("value 3 ");
  expect(again.engine.stats().tables).toBe(6);
});

test("a crash at any operation of such an opening loses nothing, and damage changes nothing", async () => {
  const good = await killedAfter(60);
  for (let at = 1; ; at++) {
    const disk = good.copy();
    let count = 0;
    let survivor: MemoryFileSystem | undefined;
    disk.onOperation = () => {
      if (++count !== at) return;
      survivor = disk.crash({ below: (n) => at % n, float: () => 0.5 });
      throw new Error("the power failed");
    };
    const opened = await open(disk, SMALL).catch(() => undefined);
    if (survivor === undefined) {
      expect(opened).toBeDefined();
      expect(at).toBeGreaterThan(20);
      break;
    }
    const { engine } = await open(survivor, SMALL);
    for (let i = 50; i < 60; i++) expect(get(engine, `key ${i % 10}`)).toStartWith(`value ${i} `);
  }
  const [name] = good.list("/d/store").filter((file) => file.endsWith(".wal"));
  const bytes = good.readFile(`/d/store/${name}`);
  bytes[bytes.length - 300]! ^= 1;
  good.writeFile(`/d/store/${name}`, bytes);
  const before = good.list("/d/store").filter((file) => file !== "LOCK");
  await expect(open(good, SMALL)).rejects.toMatchObject({ code: "CORRUPT" });
  expect(good.list("/d/store").filter((file) => file !== "LOCK")).toEqual(before);
});

test("a start on a full disk uses the space of what a crash has left, and of what starts that failed have left", async () => {
  const fs = await killedAfter(205);
  // Spare log files of the process that died, and a table that no edit names.
  fs.writeFile("/d/store/spare-1.tmp", new Uint8Array(60_000));
  fs.writeFile("/d/store/000900.table", new Uint8Array(20_000));
  const used = fs.usedBytes;
  const needed = await bytesNeeded(fs.copy());
  // Not enough even so: every attempt fails.
  fs.capacityBytes = used - 80_000 + Math.floor(needed / 2);
  for (let attempt = 0; attempt < 4; attempt++) {
    await expect(open(fs, SMALL)).rejects.toMatchObject({ code: "ENOSPC" });
  }
  fs.capacityBytes = used - 80_000 + needed;
  const { engine } = await open(fs, SMALL);
  for (let i = 195; i < 205; i++) expect(get(engine, `key ${i % 10}`)).toStartWith(`value ${i} `);
});

test("a table that an edit drops which is not durable outlives a start that loses its power", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const fs = new MemoryFileSystem();
    const { engine } = await open(fs, LARGE);
    for (const value of ["old", "new"]) {
      await put(engine, "key", value);
      await engine.flush();
    }
    // The edit of the compaction is written, and never gets to the disk.
    fs.onOperation = (operation, path) => {
      if (operation === "sync" && path.endsWith(".manifest"))
        throw new FileError("EIO", `cannot sync ${path}`);
    };
    await expect(engine.compact()).rejects.toMatchObject({ code: "FAILED" });
    await engine.close();
    // The next start sees it, and ends before it has a manifest of its own.
    fs.onOperation = (operation, path) => {
      if (operation === "create" && path.endsWith(".manifest"))
        throw new FileError("EIO", `cannot create ${path}`);
    };
    await expect(open(fs, LARGE)).rejects.toMatchObject({ code: "EIO" });
    const { engine: after } = await open(fs.crash(seededRandom(seed)), LARGE);
    expect(get(after, "key")).toBe("new");
  }
});

/** How much more than without what is left over a start takes on a disk, at most. */
async function bytesNeeded(fs: MemoryFileSystem): Promise<number> {
  fs.remove("/d/store/spare-1.tmp");
  fs.remove("/d/store/000900.table");
  const before = fs.usedBytes;
  let most = 0;
  fs.onOperation = () => {
    most = Math.max(most, fs.usedBytes);
  };
  await open(fs, SMALL);
  return most - before;
}
