import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { type Background, FileError, type Log } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import type { Engine } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";
import { Store } from "./open.ts";

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function open(
  fs: MemoryFileSystem,
  background: Background = inlineBackground(fs),
  options: Partial<LsmOptions> = {},
): Promise<Engine> {
  const env = { fs, background, clock: systemClock(), log: SILENT };
  return openLsm(env, "/d/store", { retryMs: 1, ...options });
}

function put(engine: Engine, key: string, value: string, sync = true): Promise<void> {
  const batch = engine.newBatch();
  batch.put(utf8(key), utf8(value));
  return engine.write(batch, { sync });
}

function get(engine: Engine, key: string): string {
  return fromUtf8(engine.getSync(utf8(key)) ?? utf8("nothing"));
}

/** Something to wait for until the test lets it go. */
function gate(): { readonly open: Promise<void>; readonly letGo: () => void } {
  let letGo = (): void => {};
  const open = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  return { open, letGo: () => letGo() };
}

/** Whether `promise` settles before the turn of the loop ends. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const seen = (): void => {
    settled = true;
  };
  promise.then(seen, seen);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

test("a store is closed in order on a disk without room for the record that says so", async () => {
  for (const room of [0, 1, 10, 24]) {
    const fs = new MemoryFileSystem();
    const engine = await open(fs);
    await put(engine, "synced", "1");
    await put(engine, "not synced", "2", false);
    fs.capacityBytes = fs.usedBytes + room;
    await engine.close();
    fs.capacityBytes = Number.POSITIVE_INFINITY;
    // What was durable then needs nothing that is not on the disk.
    const after = await open(fs.crash({ below: () => 0, float: () => 0 }));
    expect([get(after, "synced"), get(after, "not synced")]).toEqual(["1", "2"]);
    await after.close();
  }
});

test("whoever closes a store waits until it is closed, also if somebody else has begun that", async () => {
  const fs = new MemoryFileSystem();
  const inline = inlineBackground(fs);
  const { open: opened, letGo } = gate();
  const background = {
    ...inline,
    run: (job: string, argument: unknown) => opened.then(() => inline.run(job, argument)),
  };
  const engine = await open(fs, background);
  await put(engine, "key", "value");
  engine.flush().catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  const closed = [engine.close(), engine.close()];
  expect(await isSettled(closed[0]!)).toBe(false);
  expect(await isSettled(closed[1]!)).toBe(false);
  letGo();
  await Promise.all(closed);
  await (await open(fs)).close();
});

test("a store that has failed gives its directory back when nothing of it is under way any more", async () => {
  const fs = new MemoryFileSystem();
  const job = gate();
  const names = gate();
  const inline = inlineBackground(fs);
  const background = {
    ...inline,
    run: (name: string, argument: unknown) => job.open.then(() => inline.run(name, argument)),
  };
  const engine = await open(fs, background, { walFileBytes: 4000, walSpareFiles: 0 });
  await put(engine, "first", "value");
  const flushed = engine.flush();
  await new Promise((resolve) => setImmediate(resolve));
  // The next log file waits for the disk.
  const before = fs.list("/d/store").length;
  const { syncDirectory } = MemoryFileSystem.prototype;
  fs.syncDirectory = (path) => names.open.then(() => syncDirectory.call(fs, path));
  const last = put(engine, "last", "x".repeat(5000)).catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  expect(fs.list("/d/store").length).toBe(before + 1);
  fs.onOperation = (operation, path) => {
    if (operation === "sync" && path.endsWith(".table")) throw new FileError("EIO", "the disk is broken");
  };
  job.letGo();
  await expect(flushed).rejects.toThrow("the disk is broken");
  const closed = engine.close();
  expect(await isSettled(closed)).toBe(false);
  await expect(open(fs)).rejects.toMatchObject({ code: "LOCKED" });
  names.letGo();
  await Promise.all([last, closed]);
  fs.onOperation = undefined;
  const after = await open(fs);
  expect(get(after, "first")).toBe("value");
  await after.close();
});

test("the background thread ends with the store, however that ends", async () => {
  const fs = new MemoryFileSystem();
  let isClosed = 0;
  const background = inlineBackground(fs);
  const env = { fs, background, clock: systemClock(), log: SILENT };
  const engine = await openLsm(env, "/d/store", {});
  const store = new Store(engine, async () => void isClosed++);
  await store.put(utf8("key"), utf8("value"), { sync: false });
  fs.onOperation = (operation) => {
    if (operation === "sync") throw new FileError("EIO", "the disk is broken");
  };
  const closed = [store.close(), store.close()];
  await expect(closed[0]!).rejects.toMatchObject({ code: "FAILED" });
  await expect(closed[1]!).rejects.toMatchObject({ code: "FAILED" });
  expect(isClosed).toBe(1);
  fs.onOperation = undefined;
  await (await open(fs)).close();
});
