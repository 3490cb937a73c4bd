import { expect, test } from "bun:test";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { MemoryFileSystem } from "./memory-fs.ts";

test("what was synced, name and content, survives every crash", () => {
  for (let seed = 0; seed < 20; seed++) {
    const fs = new MemoryFileSystem();
    const handle = fs.open("/d/a", "create");
    handle.write(utf8("hello"), 0, 5, 0);
    handle.syncNow();
    fs.syncDirectorySync("/d");
    handle.write(utf8("J"), 0, 1, 0);
    const after = fs.crash(seededRandom(seed));
    expect(["hello", "Jello"]).toContain(fromUtf8(after.readFile("/d/a")));
    expect(() => handle.syncNow()).toThrow("crashed");
  }
});

test("unsynced names, blocks and removals are forgotten by a coin", () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const fs = new MemoryFileSystem();
    fs.writeFile("/d/old", utf8("old"));
    fs.remove("/d/old");
    const handle = fs.open("/d/new", "create");
    handle.write(new Uint8Array(1024).fill(1), 0, 1024, 0);
    const after = fs.crash(seededRandom(seed));
    let outcome = after.list("/d").join();
    if (after.exists("/d/new")) {
      const bytes = after.readFile("/d/new");
      outcome += `:${bytes.length}:${bytes[0] ?? ""}${bytes[512] ?? ""}`;
    }
    outcomes.add(outcome);
  }
  for (const expected of ["", "old", "new:0:", "new:1024:00", "new:1024:10", "new:1024:01", "new:1024:11"]) {
    expect([...outcomes]).toContain(expected);
  }
});

test("after a failed sync the pages count as clean", () => {
  const fs = new MemoryFileSystem();
  const handle = fs.open("/d/a", "create");
  fs.syncDirectorySync("/d");
  handle.write(utf8("lost"), 0, 4, 0);
  fs.onOperation = (operation) => {
    if (operation === "sync") throw new Error("EIO");
  };
  expect(() => handle.syncNow()).toThrow("EIO");
  fs.onOperation = undefined;
  handle.syncNow();
  expect([...fs.crash(seededRandom(1)).readFile("/d/a")]).toEqual([0, 0, 0, 0]);
});

test("a full disk takes what fits and says ENOSPC", () => {
  const fs = new MemoryFileSystem();
  fs.capacityBytes = 3;
  const handle = fs.open("/d/a", "create");
  expect(() => handle.write(utf8("hello"), 0, 5, 0)).toThrow("no space");
  expect(fromUtf8(fs.readFile("/d/a"))).toBe("hel");
});
