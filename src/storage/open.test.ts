import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { open } from "./open.ts";

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
  expect(fromUtf8((await store.get(key(7), snapshot))!)).toBe("value 7");
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
