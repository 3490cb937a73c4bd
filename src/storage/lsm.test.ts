import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { type Background, FileError, type Log } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import type { Engine, SealListener } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const DIRECTORY = "/d/store";

interface Setting {
  readonly options?: Partial<LsmOptions>;
  readonly listener?: SealListener;
  readonly background?: Background;
}

function open(fs: MemoryFileSystem, { options, listener, background }: Setting = {}): Promise<Engine> {
  const env = { fs, background: background ?? inlineBackground(fs), clock: systemClock(), log: SILENT };
  return openLsm(env, DIRECTORY, { memtableBytes: 10_000, retryMs: 1, ...options }, listener);
}

function put(engine: Engine, key: string, value: string): Promise<void> {
  const batch = engine.newBatch();
  batch.put(utf8(key), utf8(value));
  return engine.write(batch);
}

function putUnlogged(engine: Engine, key: string, value: string): void {
  const batch = engine.newBatch();
  batch.put(utf8(key), utf8(value));
  engine.writeUnlogged(batch);
}

function get(engine: Engine, key: string): string | undefined {
  const value = engine.getSync(utf8(key));
  return value === undefined ? undefined : fromUtf8(value);
}

/** Waits until `condition` holds, letting timers and background work run. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

test("what was written is there again, from the log and from tables", async () => {
  const fs = new MemoryFileSystem();
  let engine = await open(fs);
  await put(engine, "a", "1");
  await engine.flush();
  await put(engine, "b", "2");
  await engine.close();
  engine = await open(fs);
  expect([get(engine, "a"), get(engine, "b"), get(engine, "c")]).toEqual(["1", "2", undefined]);
  expect(engine.stats().tables).toBe(1);
  await engine.close();
});

test("a directory that is open is refused, and free again after close", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await expect(open(fs)).rejects.toThrow("another process has the store in /d/store open");
  await engine.close();
  await (await open(fs)).close();
});

test("a closed engine refuses everything and says so", async () => {
  const engine = await open(new MemoryFileSystem());
  const batch = engine.newBatch();
  await engine.close();
  await expect(engine.write(batch)).rejects.toThrow("is closed");
  await expect(engine.flush()).rejects.toThrow("is closed");
  expect(() => engine.writeUnlogged(batch)).toThrow("is closed");
  expect(() => engine.getSync(utf8("a"))).toThrow("is closed");
  expect(() => engine.iterate({})).toThrow("is closed");
  await engine.close();
});

test("unlogged writes: a crash leaves the last flushed seal, whole", async () => {
  const fs = new MemoryFileSystem();
  let count = 0;
  const flushed: number[] = [];
  const listener: SealListener = {
    beforeSeal: (seal, batch) => batch.put(utf8("applied"), utf8(`${seal}:${count}`)),
    flushed: (seal) => flushed.push(seal),
  };
  const engine = await open(fs, { listener });
  for (; count < 10; count++) putUnlogged(engine, `k${count}`, "v");
  await engine.flush();
  for (; count < 20; count++) putUnlogged(engine, `k${count}`, "v");
  expect(flushed).toEqual([1]);
  const after = await open(fs.crash(seededRandom(1)));
  expect([get(after, "applied"), get(after, "k9"), get(after, "k10")]).toEqual(["1:10", "v", undefined]);
  await after.close();
});

test("seals are reported in order, also of memtables without entries", async () => {
  const calls: string[] = [];
  const listener: SealListener = {
    beforeSeal: (seal) => calls.push(`before ${seal}`),
    flushed: (seal) => calls.push(`flushed ${seal}`),
  };
  const engine = await open(new MemoryFileSystem(), { listener, options: { memtableBytes: 100 } });
  await engine.flush();
  putUnlogged(engine, "a", "x".repeat(200));
  expect(calls).toEqual(["before 1", "flushed 1"]);
  engine.sealIfFull();
  engine.sealIfFull();
  putUnlogged(engine, "b", "x".repeat(200));
  engine.sealIfFull();
  await engine.flush();
  expect(calls.filter((call) => call.startsWith("before"))).toEqual(
    [1, 2, 3, 4].map((seal) => `before ${seal}`),
  );
  expect(calls.filter((call) => call.startsWith("flushed"))).toEqual(
    [1, 2, 3, 4].map((seal) => `flushed ${seal}`),
  );
  await engine.close();
});

test("a table is not reported as flushed before the manifest names it durably", async () => {
  const fs = new MemoryFileSystem();
  const flushed: number[] = [];
  const listener: SealListener = { beforeSeal: () => {}, flushed: (seal) => flushed.push(seal) };
  const engine = await open(fs, { listener });
  putUnlogged(engine, "a", "1");
  fs.onOperation = (operation, path) => {
    if (path.endsWith(".manifest") && operation === "sync") expect(flushed).toEqual([]);
  };
  await engine.flush();
  expect(flushed).toEqual([1]);
  await engine.close();
});

test("a snapshot and an iterator see their moment through overwrites, flushes and compactions", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, { options: { level0Tables: 1, blockBytes: 64 } });
  for (let i = 0; i < 50; i++) await put(engine, `k${i}`, "old");
  await engine.flush();
  const snapshot = engine.snapshot();
  const iterator = engine.iterate({});
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 50; i++) {
      const batch = engine.newBatch();
      if (i % 2 === 0) batch.delete(utf8(`k${i}`));
      else batch.put(utf8(`k${i}`), utf8("new"));
      engine.writeUnlogged(batch);
    }
    await engine.flush();
  }
  await until(() => engine.stats().tablesPerLevel[0] === 0);
  let seen = 0;
  while (iterator.next()) {
    expect(fromUtf8(iterator.value)).toBe("old");
    seen++;
  }
  expect(seen).toBe(50);
  for (let i = 0; i < 50; i++) {
    expect(fromUtf8(engine.getSync(utf8(`k${i}`), snapshot)!)).toBe("old");
    expect(get(engine, `k${i}`)).toBe(i % 2 === 0 ? undefined : "new");
  }
  snapshot.release();
  await engine.close();
});

test("an iterator keeps its files, and they go when it ends", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, { options: { level0Tables: 2 } });
  const tables = (): string[] => fs.list(DIRECTORY).filter((name) => name.endsWith(".table"));
  await put(engine, "a", "1");
  await engine.flush();
  const iterator = engine.iterate({});
  const [pinned] = tables();
  await put(engine, "a", "2");
  await engine.flush();
  await until(() => engine.stats().compactions === 1);
  expect(tables()).toContain(pinned!);
  iterator.close();
  await until(() => !tables().includes(pinned!));
  expect(tables().length).toBe(1);
  await engine.close();
});

test("tombstones are gone once they are at the bottom, and so is what they hid", async () => {
  const engine = await open(new MemoryFileSystem(), { options: { level0Tables: 1 } });
  await put(engine, "a", "1");
  await engine.flush();
  const batch = engine.newBatch();
  batch.delete(utf8("a"));
  await engine.write(batch);
  await engine.flush();
  await until(() => engine.stats().tables === 0);
  expect(get(engine, "a")).toBeUndefined();
  await engine.close();
});

test("a failed sync of the log is final", async () => {
  const fs = new MemoryFileSystem();
  const fatal: Error[] = [];
  const engine = await open(fs, { options: { onFatal: (error) => fatal.push(error) } });
  await put(engine, "a", "1");
  fs.onOperation = (operation, path) => {
    if (operation === "sync" && path.endsWith(".wal")) throw new FileError("EIO", "the disk is broken");
  };
  await expect(put(engine, "b", "2")).rejects.toThrow("can't go on, the process has to end: cannot sync");
  fs.onOperation = undefined;
  await expect(put(engine, "c", "3")).rejects.toThrow("the disk is broken");
  expect(() => engine.getSync(utf8("a"))).toThrow("the disk is broken");
  await expect(engine.flush()).rejects.toThrow("the disk is broken");
  expect(fatal.length).toBe(1);
  await engine.close();
  const after = await open(fs.crash(seededRandom(3)));
  expect(get(after, "a")).toBe("1");
  expect(get(after, "c")).toBeUndefined();
  await after.close();
});

test("a failed sync of the manifest or of a table is final too", async () => {
  for (const kind of [".manifest", ".table"]) {
    const fs = new MemoryFileSystem();
    const fatal: Error[] = [];
    const engine = await open(fs, { options: { onFatal: (error) => fatal.push(error) } });
    putUnlogged(engine, "a", "1");
    fs.onOperation = (operation, path) => {
      if (operation === "sync" && path.endsWith(kind)) throw new FileError("EIO", "the disk is broken");
    };
    await expect(engine.flush()).rejects.toThrow("the disk is broken");
    expect(fatal.length).toBe(1);
    await engine.close();
  }
});

test("a full disk makes the engine read-only, loses nothing, and it comes back by itself", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await put(engine, "a", "1");
  fs.capacityBytes = fs.usedBytes + 10;
  await expect(put(engine, "b", "2")).rejects.toThrow("the log can't be written: cannot write to");
  expect(engine.readOnlyReason).toContain("no space");
  expect([engine.pressure, engine.stats().readOnly]).toEqual(["stop", true]);
  await expect(put(engine, "c", "3")).rejects.toMatchObject({ code: "READ_ONLY" });
  expect([get(engine, "a"), get(engine, "b")]).toEqual(["1", undefined]);
  fs.capacityBytes = Number.POSITIVE_INFINITY;
  await until(() => engine.readOnlyReason === undefined);
  await put(engine, "d", "4");
  await engine.close();
  const after = await open(fs);
  expect([get(after, "a"), get(after, "b"), get(after, "c"), get(after, "d")]).toEqual([
    "1",
    undefined,
    undefined,
    "4",
  ]);
  await after.close();
});

test("a flush on a full disk is tried again, wherever it was stopped", async () => {
  for (let room = 0; room < 1500; room += 50) {
    const fs = new MemoryFileSystem();
    const flushed: number[] = [];
    const listener: SealListener = { beforeSeal: () => {}, flushed: (seal) => flushed.push(seal) };
    const engine = await open(fs, { listener });
    for (let i = 0; i < 10; i++) putUnlogged(engine, `k${i}`, "x".repeat(50));
    fs.capacityBytes = fs.usedBytes + room;
    const done = engine.flush();
    await until(() => engine.readOnlyReason !== undefined || flushed.length > 0);
    if (engine.readOnlyReason !== undefined) {
      expect(get(engine, "k9")).toBe("x".repeat(50));
      expect(flushed).toEqual([]);
    }
    fs.capacityBytes = Number.POSITIVE_INFINITY;
    await done;
    expect(engine.readOnlyReason).toBeUndefined();
    const after = await open(fs.crash(seededRandom(room)));
    for (let i = 0; i < 10; i++) expect(get(after, `k${i}`)).toBe("x".repeat(50));
    await after.close();
  }
});

test("a compaction that finds the disk full is tried again, also where only the manifest lacks space", async () => {
  for (const kind of [".manifest", ".table"]) {
    const fs = new MemoryFileSystem();
    const engine = await open(fs, { options: { level0Tables: 2 } });
    await put(engine, "a", "1");
    await put(engine, "c", "1");
    await engine.flush();
    // Between those, so that the tables have to be merged.
    await put(engine, "b", "2");
    const flushed = engine.flush();
    let failures = 0;
    let writes = 0;
    fs.onOperation = (operation, path) => {
      // The first write of either kind is the flush's.
      if (operation !== "write" || !path.endsWith(kind) || ++writes === 1 || failures >= 3) return;
      failures++;
      throw new FileError("ENOSPC", "no space left");
    };
    await flushed;
    await until(() => engine.stats().compactions === 1 && engine.readOnlyReason === undefined);
    expect(failures).toBe(3);
    await put(engine, "c", "3");
    expect([get(engine, "a"), get(engine, "b"), get(engine, "c")]).toEqual(["1", "2", "3"]);
    await engine.close();
  }
});

test("writers are told to slow down and to stop, logged ones wait, and it eases", async () => {
  const fs = new MemoryFileSystem();
  let letGo: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const engine = await open(fs, {
    background: inlineBackground(fs, () => gate),
    options: { sealedMemtablesSlow: 1, sealedMemtablesStop: 2, memtableBytes: 10 },
  });
  expect(engine.pressure).toBe("none");
  putUnlogged(engine, "a", "1");
  engine.sealIfFull();
  expect(engine.pressure).toBe("slow");
  putUnlogged(engine, "b", "2");
  engine.sealIfFull();
  expect(engine.pressure).toBe("stop");
  let written = false;
  const write = put(engine, "c", "3").then(() => {
    written = true;
  });
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(written).toBe(false);
  letGo();
  await write;
  await until(() => engine.pressure === "none");
  await engine.close();
});

test("damage is refused with the file's name, and orphans are removed", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await put(engine, "a", "1");
  await engine.flush();
  await engine.close();
  const table = fs.list(DIRECTORY).find((name) => name.endsWith(".table"))!;

  const damaged = fs.copy();
  const bytes = damaged.readFile(`${DIRECTORY}/${table}`);
  bytes[3]! ^= 1;
  damaged.writeFile(`${DIRECTORY}/${table}`, bytes);
  const reader = await open(damaged);
  expect(() => get(reader, "a")).toThrow(`${DIRECTORY}/${table}: damaged at offset 0`);
  await reader.close();

  const cut = fs.copy();
  cut.writeFile(`${DIRECTORY}/${table}`, cut.readFile(`${DIRECTORY}/${table}`).subarray(0, 10));
  await expect(open(cut)).rejects.toThrow(
    `${DIRECTORY}/${table}: damaged at offset 10: the file has 10 bytes`,
  );

  const missing = fs.copy();
  missing.remove(`${DIRECTORY}/${table}`);
  await expect(open(missing)).rejects.toMatchObject({ code: "CORRUPT" });
  missing.remove(`${DIRECTORY}/CURRENT`);
  await expect(open(missing)).rejects.toThrow("CURRENT");

  fs.writeFile(`${DIRECTORY}/000900.table`, utf8("left over"));
  fs.writeFile(`${DIRECTORY}/000901.manifest`, utf8("left over"));
  fs.writeFile(`${DIRECTORY}/PROBE.tmp`, utf8("left over"));
  const again = await open(fs);
  expect(fs.list(DIRECTORY).filter((name) => /^00090[01]|PROBE/.test(name))).toEqual([]);
  await put(again, "b", "2");
  await again.flush();
  // Numbers that were seen are not given out again.
  expect(fs.list(DIRECTORY).some((name) => Number.parseInt(name, 10) > 901)).toBe(true);
  await again.close();
});

test("a compaction that meets damage copies nothing and is fatal", async () => {
  const fs = new MemoryFileSystem();
  const fatal: Error[] = [];
  const engine = await open(fs, { options: { level0Tables: 2, onFatal: (error) => fatal.push(error) } });
  await put(engine, "a", "1");
  await put(engine, "c", "1");
  await engine.flush();
  const table = fs.list(DIRECTORY).find((name) => name.endsWith(".table"))!;
  const bytes = fs.readFile(`${DIRECTORY}/${table}`);
  bytes[3]! ^= 1;
  fs.writeFile(`${DIRECTORY}/${table}`, bytes);
  await put(engine, "b", "2");
  await engine.flush().catch(() => {});
  await until(() => fatal.length > 0);
  expect(fatal[0]!.message).toContain(`${table}: damaged at offset 0`);
  expect(fs.exists(`${DIRECTORY}/${table}`)).toBe(true);
  await engine.close();
});

test("damage to the last edit of a store that was closed in order is refused, not taken for a torn tail", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await put(engine, "a", "1");
  await engine.flush();
  await engine.close();
  const manifest = `${DIRECTORY}/${fs.list(DIRECTORY).find((name) => name.endsWith(".manifest"))}`;
  const whole = fs.readFile(manifest);
  let refused = 0;
  for (let at = 0; at < whole.length; at++) {
    const disk = fs.copy();
    const bytes = whole.slice();
    bytes[at]! ^= 16;
    disk.writeFile(manifest, bytes);
    const again = await open(disk).catch((error: { code: string }) => error.code);
    if (typeof again === "string") {
      expect([at, again]).toEqual([at, "CORRUPT"]);
      refused++;
    } else {
      // Only the last record may go, which says nothing.
      expect([at, get(again, "a")]).toEqual([at, "1"]);
      expect(again.stats().tables).toBe(1);
      await again.close();
    }
  }
  expect(refused).toBeGreaterThan(whole.length / 2);
});
