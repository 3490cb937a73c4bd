import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../../test/support/eventually.ts";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { open, StorageError } from "./open.ts";

const directory = mkdtempSync(join(tmpdir(), "flotilla-engine-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("the embedded store on a real disk: writes, reads, scans, snapshots, reopening", async () => {
  const options = { memtableBytes: 50_000, tableBytes: 20_000, level1Bytes: 100_000 };
  let store = await open(join(directory, "a"), options);
  const key = (n: number): Uint8Array => utf8(`key/${String(n).padStart(6, "0")}`);
  const writes: Promise<void>[] = [];
  for (let n = 0; n < 3000; n++) writes.push(store.put(key(n), utf8(`value ${n}`)));
  await Promise.all(writes);
  using snapshot = store.snapshot();
  await store.delete(key(7));
  const batch = store.batch();
  batch.put(key(8), utf8("eight"));
  batch.put(key(9), utf8("nine"));
  await store.write(batch, { sync: false });
  expect(fromUtf8((await store.get(key(7), { snapshot }))!)).toBe("value 7");
  await store.flush();
  await store.close();

  store = await open(join(directory, "a"), options);
  expect(await store.get(key(7))).toBeUndefined();
  expect(fromUtf8(store.getSync(key(8))!)).toBe("eight");
  const found: string[] = [];
  for await (const [k, v] of store.scan({ gte: key(5), limit: 4 }))
    found.push(`${fromUtf8(k)}=${fromUtf8(v)}`);
  expect(found).toEqual(["key/000005=value 5", "key/000006=value 6", "key/000008=eight", "key/000009=nine"]);
  let count = 0;
  for await (const _entry of store.scan()) count++;
  expect(count).toBe(2999);
  expect(store.stats().tables).toBeGreaterThan(0);
  await store.close();
});

test("a directory that is open, also in another process, is refused", async () => {
  const where = join(directory, "b");
  const store = await open(where);
  await expect(open(where)).rejects.toMatchObject({ code: "LOCKED" });
  await store.close();
});

test("kill -9 in the middle of writing loses nothing that was acknowledged", async () => {
  const where = join(directory, "c");
  const script = `
    const { open } = await import(${JSON.stringify(new URL("./open.ts", import.meta.url).href)});
    const store = await open(process.argv[1], { memtableBytes: 20_000, walFileBytes: 30_000 });
    for (let n = 0; ; n += 10) {
      const writes = [];
      for (let i = n; i < n + 10; i++) writes.push(store.put(Buffer.from("k" + i), Buffer.from("v" + i)));
      await Promise.all(writes);
      console.log(n + 10);
    }
  `;
  const child = Bun.spawn([process.execPath, "-e", script, where], { stdout: "pipe" });
  let told = "";
  for await (const chunk of child.stdout) {
    told += Buffer.from(chunk).toString();
    if (told.length > 5_000) break;
  }
  child.kill("SIGKILL");
  await child.exited;
  const acknowledged = Number(told.slice(0, told.lastIndexOf("\n")).split("\n").at(-1));
  expect(acknowledged).toBeGreaterThan(100);
  const store = await open(where);
  for (let n = 0; n < acknowledged; n++) expect(fromUtf8(store.getSync(utf8(`k${n}`))!)).toBe(`v${n}`);
  await store.close();
});

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : fromUtf8(bytes);

test("every call of the surface, in a session", async () => {
  const where = join(directory, "d");
  await using store = await open(where, { memtableBytes: 100_000 });
  const put = (name: string, value: string): Promise<void> => store.put(utf8(name), utf8(value));
  await Promise.all(["a", "b", "c", "d", "e"].map((name) => put(name, name.toUpperCase())));
  await store.put(utf8("x"), utf8("X"), { expiresAt: 1000, sync: false });
  await store.put(utf8(""), utf8(""));
  using before = store.snapshot();
  await store.deleteRange(utf8("b"), utf8("d"), { sync: false });
  await store.delete(utf8("e"));
  const batch = store.batch();
  batch.put(utf8("f"), utf8("F"));
  batch.deleteRange(utf8("a"), utf8("b"));
  await store.write(batch, { wal: false });

  expect(text(await store.get(utf8("b")))).toBeUndefined();
  expect(text(await store.get(utf8("b"), { snapshot: before }))).toBe("B");
  expect(text(store.getSync(utf8("x"), { now: 999 }))).toBe("X");
  expect(text(store.getSync(utf8("x"), { now: 1000 }))).toBeUndefined();
  expect(store.getSync(new Uint8Array(0))).toEqual(new Uint8Array(0));

  const sync = [...store.scanSync()].map(([key, value]) => `${text(key)}=${text(value)}`);
  expect(sync).toEqual(["=", "d=D", "f=F", "x=X"]);
  const async: string[] = [];
  for await (const [key, value] of store.scan({ reverse: true, limit: 3, now: 1000 }))
    async.push(`${text(key)}=${text(value)}`);
  expect(async).toEqual(["f=F", "d=D", "="]);
  expect([...store.scanSync({ snapshot: before, prefix: utf8("b") })].length).toBe(1);
  using iterator = store.iterate({ gt: utf8("d"), lte: utf8("x"), keysOnly: true });
  const keys: string[] = [];
  while (iterator.next()) {
    const { keyBytes, keyStart, keyEnd } = iterator;
    keys.push(fromUtf8(keyBytes.subarray(keyStart, keyEnd)));
    expect(iterator.value.length).toBe(0);
  }
  expect(keys).toEqual(["f", "x"]);

  store.advanceTime(1000);
  expect(store.getSync(utf8("x"))).toBeUndefined();
  await store.flush();
  await store.compact({ gte: utf8("a"), lt: utf8("y") });
  await store.checkpoint(`${where}-copy`);
  await using copy = await open(`${where}-copy`);
  expect([...copy.scanSync()].map(([key]) => text(key))).toEqual(["", "d", "f"]);
  expect(store.stats().flushes).toBeGreaterThan(0);
});

test("what a scan gave belongs to whoever asked for it, and a scan that is left lets go of its files", async () => {
  await using store = await open(join(directory, "e"), { level0Tables: 1 });
  for (let n = 0; n < 100; n++) await store.put(utf8(`k${n}`), utf8(`v${n}`), { sync: false });
  await store.flush();
  const kept: Uint8Array[] = [];
  for (const [key, value] of store.scanSync({ limit: 20 })) kept.push(key, value);
  const told = kept.map(text);
  for (const bytes of kept) bytes.fill(0x2d);
  expect([...store.scanSync({ limit: 20 })].flat().map(text)).toEqual(told);
  const value = (await store.get(utf8("k1")))!;
  value.fill(0);
  expect(text(await store.get(utf8("k1")))).toBe("v1");

  const tables = (): string[] => readdirSync(join(directory, "e")).filter((name) => name.endsWith(".table"));
  const [first] = tables();
  const scan = store.scanSync();
  scan.next();
  const asyncScan = store.scan();
  await asyncScan.next();
  for (let n = 0; n < 100; n++) await store.put(utf8(`k${n}`), utf8(`w${n}`), { sync: false });
  await store.compact();
  expect(tables()).toContain(first!);
  for (const _entry of scan) break;
  expect(tables()).toContain(first!);
  for await (const _entry of asyncScan) break;
  await eventually("the table that nobody reads goes", 2000, () => !tables().includes(first!));
  expect(scan.next().done).toBe(true);
});

test("what was read of compressed blocks belongs to the reader as well", async () => {
  const fs = new MemoryFileSystem();
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: consoleLog("error") };
  await using store = await open("/store", { env, compression: "zstd" });
  for (let n = 0; n < 100; n++) await store.put(utf8(`k${n}`), utf8(`the value of ${n}`), { sync: false });
  await store.flush();
  for (const bytes of [...store.scanSync()].flat()) bytes.fill(0);
  expect(text(await store.get(utf8("k7")))).toBe("the value of 7");
  (await store.get(utf8("k7")))!.fill(0);
  expect(text(await store.get(utf8("k7")))).toBe("the value of 7");
});

test("what can't be done is refused by the call itself, and changes nothing", async () => {
  await using store = await open(join(directory, "f"));
  const k = utf8("k");
  expect(() => store.put("k" as never, k)).toThrow(TypeError);
  expect(() => store.put(k, "v" as never)).toThrow("a value is a Uint8Array, and not string");
  expect(() => store.put(k, k, { expiresAt: 0.5 })).toThrow("a value expires at 0.5");
  expect(() => store.put(new Uint8Array(65_537), k)).toThrow(
    "a key has 65537 bytes, at most 65536 are allowed",
  );
  expect(() => store.delete(undefined as never)).toThrow(TypeError);
  expect(() => store.deleteRange(k, 1 as never)).toThrow(TypeError);
  expect(() => store.getSync("k" as never)).toThrow("a key is a Uint8Array, and not string");
  await expect(store.get("k" as never)).rejects.toThrow(TypeError);
  expect(() => store.write({} as never)).toThrow(TypeError);
  expect(() => store.scan({ gte: k, gt: k })).toThrow("at most one of gte and gt");
  expect(() => store.scanSync({ lt: k, lte: k })).toThrow("at most one of lt and lte");
  expect(() => store.iterate({ prefix: k, lt: k })).toThrow("a prefix has no other bounds");
  expect(() => store.scan({ limit: -1 })).toThrow("a scan's limit is -1");
  expect(() => store.scan({ prefix: "k" as never })).toThrow("prefix is a Uint8Array, and not string");
  expect(() => store.compact({ gte: "k" as never })).toThrow(TypeError);
  let code: unknown;
  try {
    store.scan({ gte: k, gt: k });
  } catch (error) {
    code = error instanceof StorageError ? error.code : error;
  }
  expect(code).toBe("INVALID");
  expect([...store.scanSync()]).toEqual([]);
});

test("the largest key and the largest value are carried everywhere", async () => {
  const where = join(directory, "g");
  const key = new Uint8Array(65_536).fill(0x6b);
  const value = new Uint8Array(64 * 1024 * 1024);
  for (let i = 0; i < value.length; i += 4096) value[i] = i / 4096;
  let store = await open(where);
  expect(() => store.put(key, new Uint8Array(value.length + 1))).toThrow("at most 67108864 are allowed");
  await store.put(key, value);
  await store.close();
  const check = async (): Promise<void> => {
    store = await open(where);
    expect(Buffer.compare(store.getSync(key)!, value)).toBe(0);
  };
  await check();
  await store.flush();
  await store.compact();
  await store.close();
  await check();
  await store.deleteRange(key.subarray(0, 10), Uint8Array.of(0xff));
  await store.compact();
  expect(store.stats().tables).toBe(0);
  await store.close();
});

test("tests may bring a world of their own", async () => {
  const fs = new MemoryFileSystem();
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: consoleLog("error") };
  await using store = await open("/store", { env });
  await store.put(utf8("a"), utf8("1"));
  expect(fs.exists("/store/CURRENT")).toBe(true);
});
