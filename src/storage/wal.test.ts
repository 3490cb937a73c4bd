import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { FileError } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { readU32 } from "./fixed-width.ts";
import { RECORD_HEADER_BYTES } from "./record-frame.ts";
import { Wal } from "./wal.ts";
import { type RecoveredWal, replayWal, surveyWal } from "./wal-recovery.ts";
import { EncodedBatch, OPERATION_HEADER_BYTES } from "./write-batch.ts";

/** The keys of the operations of a record. */
function keysOf(bytes: Uint8Array, start: number, end: number): string {
  const keys: string[] = [];
  for (let at = start; at < end; ) {
    const keyLength = readU32(bytes, at + 1);
    const keyAt = at + OPERATION_HEADER_BYTES;
    keys.push(Buffer.from(bytes.subarray(keyAt, keyAt + keyLength)).toString());
    at = keyAt + keyLength + readU32(bytes, at + 5);
  }
  return keys.join("+");
}

class Harness {
  readonly applied: string[] = [];
  readonly failures: unknown[] = [];
  readonly wal: Wal;
  number: number;

  constructor(
    fs: MemoryFileSystem,
    options: { fileBytes?: number; spareFiles?: number } = {},
    recovered: RecoveredWal = { lastRecord: 0, files: [] },
  ) {
    const env = { fs, clock: systemClock(), background: inlineBackground(fs) };
    this.number = 1 + Math.max(0, ...walNumbers(fs));
    this.wal = new Wal(env, "/d", { fileBytes: 1 << 20, spareFiles: 0, ...options }, recovered, {
      newFileNumber: () => this.number++,
      apply: (bytes, start, end) => this.applied.push(keysOf(bytes, start, end)),
      applied: () => {},
      ready: () => undefined,
      failed: (error) => {
        this.failures.push(error);
        return error as Error;
      },
    });
  }

  write(...keys: string[]): Promise<void> {
    return this.#write(keys, true);
  }

  writeUnsynced(...keys: string[]): Promise<void> {
    return this.#write(keys, false);
  }

  #write(keys: string[], sync: boolean): Promise<void> {
    const batch = new EncodedBatch();
    for (const key of keys) batch.put(utf8(key), utf8("v"));
    return this.wal.write(batch, sync);
  }
}

function walNumbers(fs: MemoryFileSystem): number[] {
  return fs
    .list("/d")
    .filter((name) => name.endsWith(".wal"))
    .map((name) => Number.parseInt(name, 10));
}

async function recover(
  fs: MemoryFileSystem,
  flushedRecord = 0,
): Promise<{ keys: string[]; recovered: RecoveredWal }> {
  const keys: string[] = [];
  const survey = surveyWal(fs, "/d", walNumbers(fs), flushedRecord);
  await replayWal(fs, "/d", survey, flushedRecord, (bytes, start, end) => {
    keys.push(keysOf(bytes, start, end));
    return undefined;
  });
  return { keys, recovered: survey };
}

const survey = (fs: MemoryFileSystem, flushedRecord = 0) =>
  surveyWal(fs, "/d", walNumbers(fs), flushedRecord);

test("writers of one turn share one record, one write and one sync, and all see it end", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  await harness.write("first");
  const operations: string[] = [];
  fs.onOperation = (operation) => operations.push(operation);
  await Promise.all([harness.write("a", "b"), harness.write("c"), harness.write("d")]);
  expect(operations).toEqual(["write", "sync"]);
  expect(harness.applied).toEqual(["first", "a+b+c+d"]);
  expect(harness.wal.lastRecord).toBe(2);
  await harness.wal.close();
  expect((await recover(fs)).keys).toEqual(harness.applied);
});

test("writers that come while a sync is under way share the next one", async () => {
  const fs = new MemoryFileSystem();
  let held = Promise.resolve();
  const { open } = MemoryFileSystem.prototype;
  fs.open = (path, mode) => {
    const handle = open.call(fs, path, mode);
    return { ...handle, sync: () => held.then(() => handle.sync()) };
  };
  const harness = new Harness(fs);
  await harness.write("first");
  let letGo = (): void => {};
  held = new Promise((resolve) => {
    letGo = resolve;
  });
  const writes: Promise<void>[] = [];
  for (const key of ["a", "b", "c", "d"]) {
    writes.push(harness.write(key));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(harness.applied).toEqual(["first"]);
  letGo();
  await Promise.all(writes);
  expect(harness.applied).toEqual(["first", "a", "b+c+d"]);
  expect((await recover(fs)).keys).toEqual(harness.applied);
});

/** A file system on which tests decide when a sync of a file ends, and how. */
function withHeldSyncs() {
  const fs = new MemoryFileSystem();
  const held: { end: () => void; fail: () => void }[] = [];
  let isHeld = false;
  const { open } = MemoryFileSystem.prototype;
  fs.open = (path, mode) => {
    const handle = open.call(fs, path, mode);
    const sync = (): Promise<void> => {
      if (!isHeld) return handle.sync();
      return new Promise((resolve, reject) => {
        held.push({
          end: () => handle.sync().then(resolve, reject),
          fail: () => reject(new FileError("EIO", "the disk is gone")),
        });
      });
    };
    return { ...handle, sync };
  };
  const hold = (): void => {
    isHeld = true;
  };
  return { fs, held, hold };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what nobody syncs is synced as the file grows, and only who syncs waits for that", async () => {
  const { fs, held, hold } = withHeldSyncs();
  const harness = new Harness(fs, { fileBytes: 8000 });
  await harness.writeUnsynced("first");
  hold();
  for (let i = 0; i < 15; i++) await harness.writeUnsynced("x".repeat(400));
  expect(held.length).toBe(1);
  let isOver = false;
  const synced = harness.write("last").then(() => {
    isOver = true;
  });
  await turn();
  expect([held.length, isOver]).toEqual([1, false]);
  held[0]!.end();
  await turn();
  expect([held.length, isOver]).toEqual([2, false]);
  held[1]!.end();
  await synced;
  // All is durable: there is nothing to be synced ahead.
  await harness.writeUnsynced("behind");
  expect(held.length).toBe(2);
  await harness.writeUnsynced("x".repeat(1000));
  expect(held.length).toBe(3);
});

test("when a sync fails that nobody waits for, the log has failed", async () => {
  const { fs, held, hold } = withHeldSyncs();
  const harness = new Harness(fs, { fileBytes: 8000 });
  await harness.writeUnsynced("first");
  hold();
  await harness.writeUnsynced("x".repeat(1000));
  held[0]!.fail();
  await turn();
  expect(harness.failures).toEqual([expect.objectContaining({ code: "FAILED" })]);
  await expect(harness.write("later")).rejects.toMatchObject({ code: "FAILED" });
  // There is no second try, which would succeed.
  expect(held.length).toBe(1);
});

test("a new file is begun when the old one is durable, and records follow when its mark is", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, { fileBytes: 400, spareFiles: 1 });
  while (walNumbers(fs).length < 2) await harness.writeUnsynced("x".repeat(100));
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
  const operations: string[] = [];
  fs.onOperation = (operation, path) => operations.push(`${operation} ${path.slice(3)}`);
  for (let i = 0; i < 10 && !operations.includes("write 000002.wal"); i++)
    await harness.writeUnsynced("x".repeat(100));
  const switched = operations.slice(operations.indexOf("sync 000001.wal"));
  expect(switched.slice(0, 4)).toEqual([
    "sync 000001.wal",
    "write 000002.wal",
    "sync 000002.wal",
    "write 000002.wal",
  ]);
});

test("who does not wait for the disk does not wait for a turn of the loop, but the loop goes on", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  await harness.write("first");
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  for (let i = 0; i < 1000; i++) await harness.writeUnsynced(`${i}`);
  isOver = true;
  expect(turns).toBeGreaterThan(5);
  expect(turns).toBeLessThan(100);
  expect(harness.wal.lastRecord).toBe(1001);
});

test("what would make a record too long goes into the next one", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  const batch = new EncodedBatch();
  batch.put(utf8("large"), new Uint8Array(9 << 20));
  const writes = [harness.wal.write(batch, true), harness.wal.write(batch, false), harness.write("small")];
  await Promise.all(writes);
  expect(harness.applied).toEqual(["large", "large+small"]);
  expect((await recover(fs)).keys).toEqual(harness.applied);
});

test("spare files are kept up to their number, and are gone when their space is needed or the log is closed", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, { fileBytes: 500, spareFiles: 2 });
  const spares = (): string[] => fs.list("/d").filter((name) => name.startsWith("spare-"));
  for (let i = 0; i < 40; i++) await harness.write("x".repeat(100));
  expect(walNumbers(fs).length).toBeGreaterThan(5);
  harness.wal.removeFlushed(harness.wal.lastRecord);
  expect(spares().length).toBe(2);
  // One of them may be in the making.
  while (harness.wal.spareBytes < 800) await new Promise((resolve) => setImmediate(resolve));
  harness.wal.dropSpares();
  expect([spares().length, harness.wal.spareBytes]).toEqual([0, 0]);
  for (let i = 0; i < 40; i++) await harness.write("x".repeat(100));
  harness.wal.removeFlushed(harness.wal.lastRecord);
  await harness.wal.close();
  expect(fs.list("/d").length).toBe(1);
  expect(survey(fs, 79).lastRecord).toBe(80);
});

test("the batch may be changed as soon as write returns", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  const batch = new EncodedBatch();
  batch.put(utf8("one"), utf8("1"));
  const written = harness.wal.write(batch, true);
  batch.clear();
  batch.put(utf8("two"), utf8("2"));
  await written;
  expect(harness.applied).toEqual(["one"]);
});

test("every length of a log gives the whole records before it, and is cut there", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  // Nothing in it is known to be durable from the log alone.
  for (const keys of [["a"], ["b", "c"], ["d"]]) await harness.writeUnsynced(...keys);
  const good = fs.readFile("/d/000001.wal");
  const seen = new Set<string>();
  for (let length = 0; length <= good.length; length++) {
    const disk = new MemoryFileSystem();
    disk.writeFile("/d/000001.wal", good.slice(0, length));
    const { keys, recovered } = await recover(disk);
    expect(["a", "b+c", "d"].slice(0, keys.length)).toEqual(keys);
    seen.add(keys.join());
    // What is no log file yet is for the engine to remove; a second recovery, with a newer file behind, finds the rest whole.
    if (recovered.files.length === 0) disk.remove("/d/000001.wal");
    const next = new Harness(disk, {}, recovered);
    await next.write("later");
    expect((await recover(disk)).keys).toEqual([...keys, "later"]);
  }
  expect([...seen]).toEqual(["", "a", "a,b+c", "a,b+c,d"]);
});

test("every flipped bit of a closed log is refused with the file and the offset, and nothing is changed", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  for (const key of ["a", "b", "c"]) await harness.write(key);
  await harness.wal.close();
  const good = fs.readFile("/d/000001.wal");
  const endRecord = good.length - RECORD_HEADER_BYTES;
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bytes = good.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    fs.writeFile("/d/000001.wal", bytes);
    if (bit >> 3 < endRecord) expect(() => survey(fs)).toThrow("/d/000001.wal: damaged at offset");
    else expect(survey(fs).lastRecord).toBe(3);
    expect(fs.readFile("/d/000001.wal")).toEqual(bytes);
  }
});

test("a file that is not the last is complete, or refused: every cut, every flipped byte", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, { fileBytes: 1 });
  for (const key of ["a", "b", "c"]) await harness.write(key);
  expect(walNumbers(fs)).toEqual([1, 2, 3]);
  expect((await recover(fs)).keys).toEqual(["a", "b", "c"]);
  const good = fs.readFile("/d/000002.wal");
  for (let at = 0; at < good.length; at++) {
    fs.writeFile("/d/000002.wal", good.slice(0, at));
    expect(() => survey(fs)).toThrow("/d/000002.wal: damaged at offset");
    const flipped = good.slice();
    flipped[at]! ^= 0x20;
    fs.writeFile("/d/000002.wal", flipped);
    expect(() => survey(fs)).toThrow("/d/000002.wal: damaged at offset");
  }
  fs.remove("/d/000002.wal");
  expect(() => survey(fs)).toThrow(
    "/d/000001.wal: damaged at offset 88: the file ends there; a later file goes on with record 3",
  );
  fs.remove("/d/000001.wal");
  expect(() => survey(fs)).toThrow("goes on with record 3, but records from 1 on are missing");
});

test("what is in tables is not applied again, and exactly the files that hold no more go", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, { fileBytes: 1 });
  for (const key of ["a", "b", "c"]) await harness.write(key);
  const { keys, recovered } = await recover(fs, 2);
  expect(keys).toEqual(["c"]);
  expect(recovered.files.map(({ lastRecord }) => lastRecord)).toEqual([3]);
  harness.wal.removeFlushed(0);
  expect(walNumbers(fs)).toEqual([1, 2, 3]);
  harness.wal.removeFlushed(1);
  expect(walNumbers(fs)).toEqual([2, 3]);
  expect((await recover(fs, 1)).keys).toEqual(["b", "c"]);
  expect(survey(fs, 5).lastRecord).toBe(5);
});

test("what is in tables and was durable is damage all the same, where it can't be read", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, { fileBytes: 230 });
  for (const key of ["a", "b", "c", "d"]) await harness.write(key);
  expect(walNumbers(fs)).toEqual([1, 2]);
  expect((await recover(fs, 3)).keys).toEqual(["d"]);
  const bytes = fs.readFile("/d/000001.wal");
  bytes[100]! ^= 1;
  fs.writeFile("/d/000001.wal", bytes);
  expect(() => survey(fs, 3)).toThrow("/d/000001.wal: damaged at offset 88");
});

test("a file that begins within the one before is refused", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  for (const key of ["a", "b", "c"]) await harness.write(key);
  const other = new Harness(fs, {}, { lastRecord: 1, files: [] });
  await other.write("B");
  expect(() => survey(fs)).toThrow("it has the records up to 3, but a later file begins with 2");
  expect(() => survey(fs, 3)).toThrow("it has the records up to 3, but a later file begins with 2");
});

test("a disk may have forgotten one removal and kept another: what is in tables may be missing", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, { fileBytes: 1 });
  for (const key of ["a", "b", "c", "d"]) await harness.write(key);
  fs.remove("/d/000002.wal");
  expect((await recover(fs, 2)).keys).toEqual(["c", "d"]);
  fs.remove("/d/000003.wal");
  expect(() => survey(fs, 2)).toThrow("goes on with record 4");
});

test("what was recovered is durable, though the last process ended before its sync", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  await harness.write("a");
  let isEnding = false;
  fs.onOperation = (operation) => {
    isEnding ||= operation === "sync";
    if (isEnding) throw new FileError("EIO", "the process ended");
  };
  await harness.write("b").catch(() => {});
  fs.onOperation = undefined;
  // The machine runs on: the system still has what was written.
  const { keys, recovered } = await recover(fs);
  expect(keys).toEqual(["a", "b"]);
  const again = new Harness(fs, {}, recovered);
  await again.write("c");
  const survivor = fs.crash({ below: () => 0, float: () => 0 });
  expect((await recover(survivor)).keys).toEqual(["a", "b", "c"]);
});
