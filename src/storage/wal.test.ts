import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { FileError } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { readU32 } from "./fixed-width.ts";
import { type RecoveredWal, recoverWal, Wal } from "./wal.ts";
import { EncodedBatch, OPERATION_HEADER_BYTES } from "./write-batch.ts";

/** The keys of the operations of a batch. */
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
  readonly wal: Wal;
  number = 1;

  constructor(
    fs: MemoryFileSystem,
    fileBytes = 1 << 20,
    recovered: RecoveredWal = { lastRecord: 0, files: [] },
  ) {
    this.wal = new Wal(fs, systemClock(), "/d", fileBytes, recovered, {
      newFileNumber: () => this.number++,
      apply: (bytes, start, end) => this.applied.push(keysOf(bytes, start, end)),
      applied: () => {},
      ready: () => Promise.resolve(),
      failed: (error) => error as Error,
    });
  }

  write(...keys: string[]): Promise<void> {
    const batch = new EncodedBatch();
    for (const key of keys) batch.put(utf8(key), utf8("v"));
    return this.wal.write(batch, true);
  }
}

function recover(fs: MemoryFileSystem, flushedRecord = 0): { keys: string[]; recovered: RecoveredWal } {
  const keys: string[] = [];
  const numbers = fs.list("/d").map((name) => Number.parseInt(name, 10));
  const recovered = recoverWal(fs, "/d", numbers, flushedRecord, (bytes, start, end) => {
    keys.push(keysOf(bytes, start, end));
  });
  return { keys, recovered };
}

test("writers of one turn share one write and one sync, and all see it end", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  await harness.write("first");
  const operations: string[] = [];
  fs.onOperation = (operation) => operations.push(operation);
  await Promise.all([harness.write("a", "b"), harness.write("c"), harness.write("d")]);
  expect(operations).toEqual(["write", "sync"]);
  expect(harness.applied).toEqual(["first", "a+b", "c", "d"]);
  expect(harness.wal.lastRecord).toBe(4);
  await harness.wal.close();
  expect(recover(fs).keys).toEqual(harness.applied);
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

test("every length of a log gives the whole batches before it, and is cut there", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  // One group: nothing in it is known to be durable from the log alone.
  await Promise.all([harness.write("a"), harness.write("b", "c"), harness.write("d")]);
  const good = fs.readFile("/d/000001.wal");
  const seen = new Set<string>();
  for (let length = 0; length <= good.length; length++) {
    const disk = new MemoryFileSystem();
    disk.writeFile("/d/000001.wal", good.slice(0, length));
    const { keys } = recover(disk);
    expect(["a", "b+c", "d"].slice(0, keys.length)).toEqual(keys);
    seen.add(keys.join());
    // A second recovery, with a newer file behind, finds the cut file whole.
    if (disk.exists("/d/000001.wal")) {
      const next = new Harness(disk, 1 << 20, recover(disk).recovered);
      next.number = 2;
      await next.write("later");
      expect(recover(disk).keys).toEqual([...keys, "later"]);
    }
  }
  expect([...seen]).toEqual(["", "a", "a,b+c", "a,b+c,d"]);
});

test("damage in what was durable is refused with the file and the offset, and nothing is cut", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs);
  for (const key of ["a", "b", "c"]) await harness.write(key);
  await harness.wal.close();
  const good = fs.readFile("/d/000001.wal");
  const endRecord = good.length - 21;
  for (let at = 0; at < endRecord; at++) {
    const bytes = good.slice();
    bytes[at]! ^= 1;
    fs.writeFile("/d/000001.wal", bytes);
    expect(() => recover(fs)).toThrow("/d/000001.wal: damaged at offset");
    expect(fs.readFile("/d/000001.wal")).toEqual(bytes);
  }
});

test("damage in a file that is not the last is refused, even at its end", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, 1);
  for (const key of ["a", "b", "c"]) await harness.write(key);
  expect(fs.list("/d").length).toBe(3);
  expect(recover(fs).keys).toEqual(["a", "b", "c"]);
  fs.writeFile("/d/000002.wal", fs.readFile("/d/000002.wal").slice(0, -1));
  expect(() => recover(fs)).toThrow("the file was complete once");
  fs.remove("/d/000002.wal");
  expect(() => recover(fs)).toThrow("goes on with record 3, but records from 2 on are missing");
});

test("what is in tables is not applied again, and its files go", async () => {
  const fs = new MemoryFileSystem();
  const harness = new Harness(fs, 1);
  for (const key of ["a", "b", "c"]) await harness.write(key);
  const { keys, recovered } = recover(fs, 2);
  expect(keys).toEqual(["c"]);
  expect(recovered.files.map(({ lastRecord }) => lastRecord)).toEqual([1, 2, 3]);
  harness.wal.removeFlushed(1);
  expect(fs.list("/d")).toEqual(["000002.wal", "000003.wal"]);
  expect(recover(fs, 5).recovered.lastRecord).toBe(5);
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
  const { keys, recovered } = recover(fs);
  expect(keys).toEqual(["a", "b"]);
  const again = new Harness(fs, 1 << 20, recovered);
  again.number = 2;
  await again.write("c");
  expect(recover(fs.crash({ below: () => 0, float: () => 0 })).keys).toEqual(["a", "b", "c"]);
});
