import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { type Clock, FileError, type Log } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import type { DurableEngine, Engine } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";
import { open as openStore } from "./open.ts";

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const SOURCE = "/d/store";
const TARGET = "/d/copies/monday";

/** Nothing is compacted: the tables stay those that were flushed. */
const UNCOMPACTED = { level0Tables: 100, level0TablesSlow: 100, level0TablesStop: 100 };

function open(
  fs: MemoryFileSystem,
  directory = SOURCE,
  options: Partial<LsmOptions> = {},
  clock: Clock = systemClock(),
): Promise<DurableEngine> {
  const env = { fs, background: inlineBackground(fs), clock, log: SILENT };
  return openLsm(env, directory, {
    memtableBytes: 2000,
    tableBytes: 1500,
    blockBytes: 200,
    level0Tables: 2,
    level1Bytes: 4000,
    retryMs: 1,
    ...options,
  });
}

async function put(engine: Engine, first: number, count: number, value: string): Promise<void> {
  const batch = engine.newBatch();
  for (let n = first; n < first + count; n++)
    batch.put(utf8(`key${String(n).padStart(4, "0")}`), utf8(value));
  await engine.write(batch);
}

function contents(engine: Engine): string[] {
  const found: string[] = [];
  using iterator = engine.iterate({});
  while (iterator.next()) found.push(`${fromUtf8(iterator.key)}=${fromUtf8(iterator.value)}`);
  return found;
}

async function reopened(fs: MemoryFileSystem, directory: string): Promise<string[]> {
  const engine = await open(fs, directory);
  const found = contents(engine);
  await put(engine, 9000, 1, "it takes writes");
  await engine.close();
  return found;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "fulfilled",
    (error: { code?: string }) => error.code ?? String(error),
  );
}

test("a checkpoint holds what was written before it, unlogged writes included, and nothing that came after", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await put(engine, 0, 100, "one");
  const unlogged = engine.newBatch();
  unlogged.put(utf8("unlogged"), utf8("yes"));
  engine.writeUnlogged(unlogged);
  const before = contents(engine);
  await engine.checkpoint(TARGET);
  await put(engine, 50, 100, "two");
  const after = contents(engine);
  expect(await reopened(fs, TARGET)).toEqual(before);
  await engine.close();
  expect(await reopened(fs, SOURCE)).toEqual(after);
});

test("an empty store has a checkpoint as well", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await engine.checkpoint(TARGET);
  await engine.close();
  expect(await reopened(fs, TARGET)).toEqual([]);
});

test("rewriting and compacting one of the two stores leaves the other as it was", async () => {
  for (const [changed, kept] of [
    [SOURCE, TARGET],
    [TARGET, SOURCE],
  ] as const) {
    const fs = new MemoryFileSystem();
    let engine = await open(fs, SOURCE, UNCOMPACTED);
    for (let round = 0; round < 3; round++) await put(engine, round * 50, 90, `value ${round}`);
    await engine.checkpoint(TARGET);
    const before = contents(engine);
    await engine.close();
    const tables = fs.list(TARGET).filter((name) => name.endsWith(".table"));
    expect(tables.length).toBeGreaterThan(1);
    expect(fs.list(SOURCE)).toEqual(expect.arrayContaining(tables));
    engine = await open(fs, changed);
    for (let round = 0; round < 6; round++) {
      await put(engine, 0, 200, `changed ${round}`);
      await engine.flush();
    }
    await engine.close();
    // The tables that both had are gone here, and only here.
    expect(fs.list(changed).filter((name) => tables.includes(name))).toEqual([]);
    expect(fs.list(kept)).toEqual(expect.arrayContaining(tables));
    expect(await reopened(fs, kept)).toEqual(before);
  }
});

test("writes and compactions go on while tables are linked, and take none of them away", async () => {
  const fs = new MemoryFileSystem();
  let between: (() => Promise<void>) | undefined;
  let pauses = 0;
  // Between two turns of linking everything is rewritten.
  const system = systemClock();
  const clock: Clock = {
    nowMs: () => system.nowMs(),
    wallMs: () => system.wallMs(),
    endOfTurn: (callback) => system.endOfTurn(callback),
    timer: (_delayMs, callback) => {
      pauses++;
      const work = between?.() ?? Promise.resolve();
      between = undefined;
      void work.then(callback);
      return { cancel: () => {} };
    },
  };
  const engine = await open(fs, SOURCE, { tableBytes: 300 }, clock);
  for (let round = 0; round < 10; round++) await put(engine, round * 60, 80, `value ${round}`);
  await engine.flush();
  const before = contents(engine);
  const tables = fs.list(SOURCE).filter((name) => name.endsWith(".table"));
  expect(tables.length).toBeGreaterThan(40);
  between = async () => {
    for (let round = 0; round < 4; round++) {
      await put(engine, 0, 700, `later ${round}`);
      await engine.flush();
    }
    while (contents(engine).length !== 700 || engine.stats().tablesPerLevel[0]! > 1)
      await new Promise((resolve) => setImmediate(resolve));
  };
  await engine.checkpoint(TARGET);
  expect(pauses).toBeGreaterThan(0);
  await engine.close();
  // Not all were in the way of the new ones.
  expect(fs.list(SOURCE).filter((name) => tables.includes(name)).length).toBeLessThan(tables.length / 2);
  expect(await reopened(fs, TARGET)).toEqual(before);
});

test("what is there already is not touched", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await put(engine, 0, 10, "one");
  fs.writeFile(`${TARGET}/a letter`, utf8("dear reader"));
  expect(await codeOf(engine.checkpoint(TARGET))).toBe("EEXIST");
  expect(await codeOf(engine.checkpoint(SOURCE))).toBe("EEXIST");
  expect(await codeOf(engine.checkpoint(`${SOURCE}/inside`))).toBe("EINVAL");
  fs.writeFile("/d/other.tmp/a letter", utf8("dear reader"));
  expect(await codeOf(engine.checkpoint("/d/other"))).toBe("EEXIST");
  expect(fs.list("/d/other.tmp")).toEqual(["a letter"]);
  expect(fs.list(TARGET)).toEqual(["a letter"]);
  expect(fs.list(SOURCE)).not.toContain("inside.tmp");
  await engine.close();
});

test("two checkpoints with the same target: one is made, the other is told", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await put(engine, 0, 100, "one");
  const before = contents(engine);
  const codes = await Promise.all([codeOf(engine.checkpoint(TARGET)), codeOf(engine.checkpoint(TARGET))]);
  expect(codes.sort()).toEqual(["LOCKED", "fulfilled"]);
  await engine.close();
  expect(await reopened(fs, TARGET)).toEqual(before);
});

test("closing waits for a checkpoint, and there is none after it", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs, SOURCE, { tableBytes: 300 });
  for (let round = 0; round < 10; round++) await put(engine, round * 60, 80, `value ${round}`);
  await engine.flush();
  const before = contents(engine);
  const made = codeOf(engine.checkpoint(TARGET));
  while (!fs.exists(`${TARGET}.tmp`)) await Promise.resolve();
  await engine.close();
  expect(fs.exists(TARGET)).toBe(true);
  expect(await made).toBe("fulfilled");
  expect(await reopened(fs, TARGET)).toEqual(before);
  expect(await codeOf(engine.checkpoint("/d/late"))).toBe("CLOSED");
});

test.each([
  ["link", "EXDEV"],
  ["link", "EMLINK"],
  ["create", "ENOSPC"],
  ["write", "ENOSPC"],
  ["sync", "EIO"],
  ["syncDirectory", "EIO"],
  ["rename", "EACCES"],
  ["makeDirectory", "EROFS"],
] as const)("a %s that fails with %s leaves nothing behind, and hurts nobody", async (operation, code) => {
  for (let nth = 1; nth < 100; nth++) {
    const fs = new MemoryFileSystem();
    const engine = await open(fs);
    await put(engine, 0, 100, "one");
    await engine.flush();
    fs.makeDirectory("/d/copies");
    const before = contents(engine);
    let calls = 0;
    fs.onOperation = (found, path) => {
      if (found === operation && path.startsWith("/d/copies") && ++calls === nth)
        throw new FileError(code, `${operation} ${path}: no`);
    };
    const outcome = await codeOf(engine.checkpoint(TARGET));
    fs.onOperation = undefined;
    if (calls < nth) {
      expect(outcome).toBe("fulfilled");
      expect(nth).toBeGreaterThan(1);
      await engine.close();
      return;
    }
    expect(outcome).toBe(code);
    expect(fs.list("/d/copies")).toEqual([]);
    // The store goes on, and so does the next try.
    await engine.checkpoint(TARGET);
    await engine.close();
    expect(await reopened(fs, TARGET)).toEqual(before);
    expect(await reopened(fs, SOURCE)).toEqual(before);
  }
});

test("the error says what to do about another file system", async () => {
  const fs = new MemoryFileSystem();
  const engine = await open(fs);
  await put(engine, 0, 10, "one");
  fs.onOperation = (operation) => {
    if (operation === "link") throw new FileError("EXDEV", "cannot link: cross-device link not permitted");
  };
  await expect(engine.checkpoint(TARGET)).rejects.toThrow(
    /monday: cannot link.*on the file system of the store/,
  );
  fs.onOperation = undefined;
  await engine.close();
});

test("the power fails at every operation: the store is whole, and the checkpoint is whole or not there", async () => {
  const outcomes = { absent: 0, whole: 0 };
  for (const seed of [1, 2, 3, 4]) {
    for (let at = 1; ; at++) {
      const random = seededRandom(seed * 1009 + at);
      const fs = new MemoryFileSystem();
      fs.makeDirectory("/d");
      fs.syncDirectorySync("/");
      const engine = await open(fs);
      for (let round = 0; round < 3; round++) await put(engine, round * 10, 60, `value ${round}`);
      const before = contents(engine);
      let survivor: MemoryFileSystem | undefined;
      let count = 0;
      fs.onOperation = (_operation, path) => {
        if (++count !== at) return;
        survivor = fs.crash(random);
        throw new FileError("EIO", `${path}: the power failed`);
      };
      const outcome = await codeOf(engine.checkpoint(TARGET));
      await engine.close().catch(() => {});
      if (survivor === undefined) survivor = fs.crash(random);
      fs.onOperation = undefined;
      const where = `seed ${seed}, operation ${at}: ${outcome}`;
      expect([where, await reopened(survivor, SOURCE)]).toEqual([where, before]);
      if (survivor.exists(TARGET)) {
        outcomes.whole++;
        expect([where, await reopened(survivor, TARGET)]).toEqual([where, before]);
      } else {
        outcomes.absent++;
        expect([where, outcome]).not.toEqual([where, "fulfilled"]);
        // What is left of it is in nobody's way.
        const again = await open(survivor);
        await again.checkpoint(TARGET);
        expect(survivor.exists(`${TARGET}.tmp`)).toBe(false);
        await again.close();
        expect(await reopened(survivor, TARGET)).toEqual([...before, "key9000=it takes writes"]);
      }
      if (count < at) break;
    }
  }
  expect(outcomes.absent).toBeGreaterThan(40);
  expect(outcomes.whole).toBeGreaterThan(4);
});

const directory = mkdtempSync(join(tmpdir(), "flotilla-checkpoint-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("on a real disk: the tables are shared, and each store can be deleted alone", async () => {
  const source = join(directory, "source");
  const target = join(directory, "deep/er/target");
  const options = { memtableBytes: 50_000, tableBytes: 20_000, level1Bytes: 100_000, ...UNCOMPACTED };
  let store = await openStore(source, options);
  const value = (n: number): Uint8Array => utf8(`value ${n} ${"x".repeat(100)}`);
  for (let first = 0; first < 3000; first += 500) {
    const batch = store.batch();
    for (let n = first; n < first + 500; n++) batch.put(utf8(`key${n}`), value(n));
    await store.write(batch, { sync: false });
  }
  await store.checkpoint(target);
  const tables = readdirSync(target).filter((name) => name.endsWith(".table"));
  expect(tables.length).toBeGreaterThan(2);
  for (const name of tables) expect(statSync(join(target, name)).nlink).toBe(2);
  expect(readdirSync(join(directory, "deep/er"))).toEqual(["target"]);
  mkdirSync(join(directory, "there"));
  expect(await codeOf(store.checkpoint(join(directory, "there")))).toBe("EEXIST");
  await store.close();
  rmSync(source, { recursive: true });

  store = await openStore(target, options);
  for (let n = 0; n < 3000; n++) expect(fromUtf8(store.getSync(utf8(`key${n}`))!)).toBe(fromUtf8(value(n)));
  // A checkpoint of a checkpoint, and the middle one goes.
  await store.checkpoint(source);
  await store.close();
  rmSync(target, { recursive: true });
  store = await openStore(source, options);
  let count = 0;
  for await (const _entry of store.scan()) count++;
  expect(count).toBe(3000);
  await store.close();
});
