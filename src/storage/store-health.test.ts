import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { FileError } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { openLsm } from "./lsm.ts";

test("what is kept for later log files gives way to a table on a full disk", async () => {
  const fs = new MemoryFileSystem();
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log };
  const options = { memtableBytes: 1 << 20, walFileBytes: 20_000, walSpareFiles: 4, retryMs: 1 };
  const engine = await openLsm(env, "/d/store", options);
  const put = (key: string): Promise<void> => {
    const batch = engine.newBatch();
    batch.put(utf8(key), utf8("x".repeat(500)));
    return engine.write(batch);
  };
  const spares = (): string[] => fs.list("/d/store").filter((name) => name.startsWith("spare-"));
  for (let i = 0; i < 300; i++) await put("key");
  await engine.flush();
  expect(spares().length).toBe(4);
  const spareBytes = spares().map((name) => fs.readFile(`/d/store/${name}`).length);
  expect(engine.stats().walSpareBytes).toBe(spareBytes.reduce((sum, bytes) => sum + bytes));
  for (let i = 0; i < 40; i++) await put(`key ${i}`);
  expect(spares().length).toBeGreaterThan(0);
  // Not enough for a table, unless the spares go.
  fs.capacityBytes = fs.usedBytes + 5000;
  await engine.flush();
  expect(engine.stats().tables).toBe(2);
  expect(engine.readOnlyReason).toBeUndefined();
  await engine.close();
});

test("a log file that can't be removed does not keep a flush from being over", async () => {
  for (const code of ["ENOSPC", "EIO"]) {
    const fs = new MemoryFileSystem();
    const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
    const env = { fs, background: inlineBackground(fs), clock: systemClock(), log };
    const options = { walFileBytes: 2000, walSpareFiles: 0, retryMs: 1 };
    const engine = await openLsm(env, "/d/store", options);
    const put = (key: string): Promise<void> => {
      const batch = engine.newBatch();
      batch.put(utf8(key), utf8("x".repeat(500)));
      return engine.write(batch);
    };
    for (let i = 0; i < 10; i++) await put(`key ${i}`);
    const logs = (): string[] => fs.list("/d/store").filter((name) => name.endsWith(".wal"));
    expect(logs().length).toBeGreaterThan(3);
    let failures = 0;
    fs.onOperation = (operation, path) => {
      if (operation !== "remove" || !path.endsWith(".wal") || ++failures > 1) return;
      throw new FileError(code, `cannot remove ${path}`);
    };
    await engine.flush();
    expect([failures > 0, engine.readOnlyReason]).toEqual([true, undefined]);
    await put("last");
    await engine.close();
    fs.onOperation = undefined;
    const after = await openLsm(env, "/d/store", options);
    expect(after.getSync(utf8("key 0"))?.length).toBe(500);
    expect(after.getSync(utf8("last"))?.length).toBe(500);
    expect(logs().length).toBe(1);
    await after.close();
  }
});
