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

test("after a failed sync of a directory its names count as durable", () => {
  const fs = new MemoryFileSystem();
  fs.writeFile("/d/removed", utf8("r"));
  fs.remove("/d/removed");
  fs.open("/d/lost", "create");
  fs.onOperation = (operation) => {
    if (operation === "syncDirectory") throw new Error("EIO");
  };
  expect(() => fs.syncDirectorySync("/d")).toThrow("EIO");
  fs.onOperation = undefined;
  fs.open("/d/later", "create");
  fs.syncDirectorySync("/d");
  expect(fs.crash({ below: () => 0, float: () => 0 }).list("/d")).toEqual(["later", "removed"]);
});

test("a full disk takes what fits and says ENOSPC", () => {
  const fs = new MemoryFileSystem();
  fs.capacityBytes = 3;
  const handle = fs.open("/d/a", "create");
  expect(() => handle.write(utf8("hello"), 0, 5, 0)).toThrow("no space");
  expect(fromUtf8(fs.readFile("/d/a"))).toBe("hel");
});

test("links, directories and their renames are durable after a sync of where they are, and before that by a coin", () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 300; seed++) {
    const fs = new MemoryFileSystem();
    fs.writeFile("/d/file", utf8("content"));
    fs.makeDirectory("/d/new.tmp");
    fs.syncDirectorySync("/d");
    fs.link("/d/file", "/d/new.tmp/durable");
    fs.syncDirectorySync("/d/new.tmp");
    fs.link("/d/file", "/d/new.tmp/forgotten");
    fs.rename("/d/new.tmp", "/d/new");
    fs.makeDirectory("/d/other");
    const after = fs.crash(seededRandom(seed));
    const there = after.exists("/d/new") ? "/d/new" : "/d/new.tmp";
    expect(fromUtf8(after.readFile(`${there}/durable`))).toBe("content");
    outcomes.add(`${after.list("/d")}: ${after.list(there)}`);
  }
  const expected = ["new", "new.tmp"].flatMap((name) =>
    ["", ",other"].flatMap((other) =>
      ["durable", "durable,forgotten"].map((inside) => `file,${name}${other}: ${inside}`),
    ),
  );
  expect([...outcomes].sort()).toEqual(expected.sort());
});

test("a link is a second name of the same content, also after a crash and in a copy", () => {
  const fs = new MemoryFileSystem();
  fs.writeFile("/d/a", utf8("old"));
  fs.link("/d/a", "/d/b");
  expect(() => fs.link("/d/a", "/d/b")).toThrow("it exists");
  expect(() => fs.link("/d/none", "/d/c")).toThrow("no such file");
  fs.syncDirectorySync("/d");
  for (const disk of [fs.copy(), fs.crash(seededRandom(1))]) {
    disk.open("/d/a", "write").write(utf8("new"), 0, 3, 0);
    disk.remove("/d/a");
    expect([disk.list("/d"), fromUtf8(disk.readFile("/d/b")), disk.usedBytes]).toEqual([["b"], "new", 3]);
  }
});

test("directories are removed when they are empty, and renamed to a free name", () => {
  const fs = new MemoryFileSystem();
  fs.makeDirectory("/d/x/y");
  fs.writeFile("/d/x/y/file", utf8("f"));
  expect(() => fs.removeDirectory("/d/x/y")).toThrow("not empty");
  expect(() => fs.remove("/d/x/y")).toThrow("is a directory");
  fs.makeDirectory("/d/z");
  expect(() => fs.rename("/d/x/y", "/d/z")).toThrow("exists");
  fs.removeDirectory("/d/z");
  fs.rename("/d/x/y", "/d/z");
  expect([fs.list("/d"), fs.list("/d/x"), fs.list("/d/z")]).toEqual([["x", "z"], [], ["file"]]);
  expect(() => fs.removeDirectory("/d/nowhere")).toThrow("no such directory");
});

test("a write that is made to fail may have written its first bytes, not all", () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 100; seed++) {
    const fs = new MemoryFileSystem();
    const handle = fs.open("/d/a", "create");
    fs.partialWrites = seededRandom(seed);
    fs.onOperation = () => {
      throw new Error("EIO");
    };
    expect(() => handle.write(utf8("abc"), 0, 3, 0)).toThrow("EIO");
    expect("abc".startsWith(fromUtf8(fs.readFile("/d/a")))).toBe(true);
    lengths.add(handle.size());
  }
  expect([...lengths].sort()).toEqual([0, 1, 2]);
});
