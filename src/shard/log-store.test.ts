import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { groupId, logIndex, nodeId, term } from "../../protocol/ids.ts";
import type { Entry } from "../../protocol/peer-messages.ts";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { bunFileSystem } from "../env/bun-fs.ts";
import { FileError, type FileHandle, type FileSystem } from "../env/env.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { LogDamageError } from "./log-segment.ts";
import { isDiskFull, LogStore, LogSyncError } from "./log-store.ts";

const G1 = groupId(1);
const G2 = groupId(2);
let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flotilla-log-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const entry = (index: number, inTerm: number, data = `data ${index} of term ${inTerm}`): Entry => ({
  index: logIndex(index),
  term: term(inTerm),
  kind: "commands",
  data: utf8(data),
});
const hardState = (inTerm: number, votedFor: string) => ({
  term: term(inTerm),
  votedFor: nodeId(votedFor),
  commit: logIndex(0),
});
const open = (fs: FileSystem = bunFileSystem(), segmentBytes = 1 << 20, cacheBytes = 1 << 20) =>
  LogStore.open({ fs, background: inlineBackground(fs) }, directory, { segmentBytes, cacheBytes });
const segments = () =>
  readdirSync(directory)
    .filter((name) => name.endsWith(".log"))
    .sort();
const contents = (store: LogStore, group = G1) => {
  const log = store.group(group);
  return log
    .entries(log.firstIndex, logIndex(log.lastIndex + 1), 1 << 20)
    .map((e) => `${e.index}/${e.term}:${fromUtf8(e.data)}`);
};

describe("log store", () => {
  test("what was flushed is there after a restart, for every group; what was not is gone", async () => {
    const store = open();
    store.append(G1, hardState(3, "n2"), [entry(1, 1), entry(2, 3)]);
    store.append(G2, undefined, [entry(1, 2)]);
    await store.flush();
    store.append(G1, undefined, [entry(3, 3)]);
    expect(contents(store)).toHaveLength(3);
    store.close();

    const again = open();
    expect(contents(again)).toEqual(["1/1:data 1 of term 1", "2/3:data 2 of term 3"]);
    expect(contents(again, G2)).toEqual(["1/2:data 1 of term 2"]);
    expect(again.group(G1).hardState).toEqual(hardState(3, "n2"));
    again.close();
  });

  test("entries replace what the log had from their first index on, also across a restart", async () => {
    const store = open();
    store.append(G1, undefined, [entry(1, 1), entry(2, 1), entry(3, 1)]);
    await store.flush();
    store.append(G1, undefined, [entry(2, 2)]);
    expect(store.group(G1).lastIndex).toBe(logIndex(2));
    expect(store.group(G1).term(logIndex(3))).toBeUndefined();
    await store.flush();
    store.close();
    const again = open();
    expect(contents(again)).toEqual(["1/1:data 1 of term 1", "2/2:data 2 of term 2"]);
    again.close();
  });

  test("a tail torn at any byte is cut, and what was flushed before it stays", async () => {
    const store = open();
    store.append(G1, undefined, [entry(1, 1)]);
    await store.flush();
    const path = join(directory, segments()[0]!);
    const before = readFileSync(path).length;
    store.append(G1, undefined, [entry(2, 1), entry(3, 1)]);
    // As it is when the power fails before anybody noted how far the log is durable.
    const noted = readFileSync(join(directory, "end"));
    await store.flush();
    store.close();
    const whole = readFileSync(path);
    for (let length = before; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      writeFileSync(join(directory, "end"), noted);
      const cut = open();
      expect(contents(cut)).toEqual(["1/1:data 1 of term 1"]);
      // It goes on from there.
      cut.append(G1, undefined, [entry(2, 2)]);
      await cut.flush();
      cut.close();
      const again = open();
      expect(again.group(G1).lastIndex).toBe(logIndex(2));
      again.close();
    }
  }, 60_000);

  test("any flipped byte before a record that vouches for it is damage, named with file and offset", async () => {
    const store = open();
    store.append(G1, hardState(1, "n1"), [entry(1, 1)]);
    await store.flush();
    const path = join(directory, segments()[0]!);
    const damageable = readFileSync(path).length;
    store.append(G1, undefined, [entry(2, 1)]);
    await store.flush();
    store.close();
    const whole = readFileSync(path);
    for (let at = 0; at < damageable; at++) {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 0x10;
      writeFileSync(path, flipped);
      expect(() => open()).toThrow(LogDamageError);
      expect(() => open()).toThrow(path);
      expect(readFileSync(path)).toEqual(flipped);
    }
  });

  test("once it is noted how far the log is durable, damage to the last record is no torn tail either", async () => {
    const store = open();
    const path = join(directory, segments()[0]!);
    store.append(G1, hardState(1, "n1"), [entry(1, 1)]);
    await store.flush();
    await store.noteEnd();
    const whole = readFileSync(path);
    const refuses = (what: string) => {
      expect(() => open()).toThrow(LogDamageError);
      expect(() => open()).toThrow(what);
    };
    for (let at = 0; at < whole.length; at++) {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 0x10;
      writeFileSync(path, flipped);
      refuses(path);
      expect(readFileSync(path)).toEqual(flipped);
      writeFileSync(path, whole.subarray(0, at));
      refuses(path);
    }
    rmSync(path);
    refuses(`${path} is missing`);
    writeFileSync(path, whole);
    const again = open();
    expect(contents(again)).toHaveLength(1);
    // What is written behind the note is torn, as it always was.
    again.append(G1, undefined, [entry(2, 1)]);
    await again.flush();
    const longer = readFileSync(path);
    writeFileSync(path, longer.subarray(0, longer.length - 1));
    const cut = open();
    expect(contents(cut)).toHaveLength(1);
    cut.close();
  }, 60_000);

  test("of the two notes either one will do; with none of them, or no file for them, the log is refused", async () => {
    const store = open();
    const path = join(directory, "end");
    const notes: Buffer[] = [];
    for (let index = 1; index <= 3; index++) {
      store.append(G1, undefined, [entry(index, 1)]);
      await store.flush();
      await store.noteEnd();
      notes.push(readFileSync(path));
    }
    // By turns: each time another half of the file stays as it was.
    const half = notes[0]!.length / 2;
    const changed = [1, 2].map((at) => notes[at]!.subarray(0, half).equals(notes[at - 1]!.subarray(0, half)));
    expect(changed.toSorted()).toEqual([false, true]);
    const whole = notes.at(-1)!;
    const damagedIn = (...places: readonly number[]): Buffer => {
      const bytes = Buffer.from(whole);
      for (const place of places) bytes[place * half + 25]! ^= 1;
      return bytes;
    };
    for (const place of [0, 1]) {
      writeFileSync(path, damagedIn(place));
      expect(contents(open())).toHaveLength(3);
    }
    writeFileSync(path, damagedIn(0, 1));
    expect(() => open()).toThrow(`${path}, offset 0: neither of its two notes has the right checksum`);
    rmSync(path);
    expect(() => open()).toThrow(`${path}, offset 0: the file is missing`);
    expect(() => open()).toThrow(LogDamageError);
  });

  test("a log whose directory was made, and nothing else, begins", () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(8192), Buffer.alloc(100, 7)]) {
      writeFileSync(join(directory, "end"), bytes);
      open().close();
      expect(segments()).toHaveLength(1);
      rmSync(join(directory, segments()[0]!));
    }
  });

  test("damage in a segment that is not the last is never taken for a torn tail", async () => {
    const store = open(bunFileSystem(), 200);
    for (let i = 1; i <= 12; i++) {
      store.append(G1, undefined, [entry(i, 1)]);
      await store.flush();
    }
    store.close();
    expect(segments().length).toBeGreaterThan(2);
    const path = join(directory, segments()[0]!);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
    expect(() => open()).toThrow(LogDamageError);
  });

  test("segments go when no group needs them, and what is left can be read", async () => {
    const store = open(bunFileSystem(), 300);
    store.append(G2, hardState(1, "n1"), [entry(1, 1)]);
    for (let i = 1; i <= 30; i++) {
      store.append(G1, undefined, [entry(i, 1)]);
      await store.flush();
    }
    const all = segments().length;
    store.compact(G1, logIndex(28));
    store.append(G1, undefined, [entry(31, 1)]);
    await store.flush();
    // The other group's first entry keeps the first segment, and with it all that follow.
    expect(segments().length).toBeGreaterThanOrEqual(all);
    store.compact(G2, logIndex(1));
    store.append(G1, undefined, [entry(32, 1)]);
    await store.flush();
    expect(segments().length).toBeLessThan(5);
    store.close();

    const again = open(bunFileSystem(), 300);
    expect(again.group(G1).firstIndex).toBe(logIndex(29));
    expect(again.group(G1).term(logIndex(28))).toBe(term(1));
    expect(contents(again)).toEqual([29, 30, 31, 32].map((i) => `${i}/1:data ${i} of term 1`));
    expect(again.group(G2).hardState).toEqual(hardState(1, "n1"));
    expect(again.group(G2).lastIndex).toBe(logIndex(1));
    again.close();
  });

  test.each([0, 1, 2])(
    "what is left of overwritten entries whose first were dropped does not count, %i",
    async (kept) => {
      const store = open(bunFileSystem(), 100);
      const add = async (group: typeof G1, added: Entry) => {
        store.append(group, undefined, [added]);
        await store.flush();
      };
      for (let i = 1; i <= 6; i++) await add(G1, entry(i, 1, "x".repeat(100)));
      // The other group keeps what comes from here on.
      await add(G2, entry(1, 1));
      for (let i = 7; i <= 9; i++) await add(G1, entry(i, 1, "x".repeat(100)));
      store.compact(G1, logIndex(kept));
      await add(G1, entry(kept + 1, 2));
      for (let i = 2; i <= 4; i++) await add(G1, entry(kept + i, 2));
      const before = contents(store);
      expect(segments()[0]! > "000000000002.log").toBe(true);
      store.close();
      const again = open(bunFileSystem(), 100);
      expect(contents(again)).toEqual(before);
      expect(again.group(G1).compacted).toEqual({ index: logIndex(kept), term: term(kept === 0 ? 0 : 1) });
      again.close();
    },
  );

  test("entries that are not in memory any more are read from their file, and damaged ones are refused", async () => {
    const store = open(bunFileSystem(), 1 << 20, 10);
    store.append(G1, undefined, [entry(1, 1, "x".repeat(100)), entry(2, 1, "y".repeat(100))]);
    await store.flush();
    store.append(G1, undefined, [entry(3, 1)]);
    await store.flush();
    expect(contents(store)[0]).toBe(`1/1:${"x".repeat(100)}`);
    const path = join(directory, segments()[0]!);
    const bytes = readFileSync(path);
    bytes[bytes.indexOf("xxx")] = 0x7a;
    writeFileSync(path, bytes);
    expect(() => contents(store)).toThrow(/entry of 100 bytes there is damaged/);
    store.close();
  });

  test("a full disk loses nothing: the same flush succeeds when there is space", async () => {
    const disk = { space: Number.POSITIVE_INFINITY };
    const store = open(withSpace(disk));
    store.append(G1, undefined, [entry(1, 1)]);
    await store.flush();
    disk.space = 10;
    store.append(G1, undefined, [entry(2, 1)]);
    const failure = await store.flush().catch((error: unknown) => error);
    expect(isDiskFull(failure)).toBe(true);
    expect(store.hasGathered).toBe(true);
    store.append(G1, undefined, [entry(3, 1)]);
    expect(isDiskFull(await store.flush().catch((error: unknown) => error))).toBe(true);
    disk.space = Number.POSITIVE_INFINITY;
    await store.flush();
    await store.flush();
    store.close();
    const again = open();
    expect(contents(again)).toHaveLength(3);
    again.close();
  });

  test("a segment whose beginning was interrupted by a crash is begun again", async () => {
    const store = open();
    store.append(G1, undefined, [entry(1, 1)]);
    await store.flush();
    store.close();
    for (const length of [0, 7, 16, 20]) {
      const header = readFileSync(join(directory, segments()[0]!)).subarray(0, length);
      const next = Buffer.from(header);
      if (length >= 16) next[15] = 2;
      writeFileSync(join(directory, "000000000002.log"), next);
      const again = open();
      expect(contents(again)).toEqual(["1/1:data 1 of term 1"]);
      again.append(G1, undefined, []);
      again.close();
    }
  });

  test("a snapshot takes the place of all entries, also of those that were behind its place", async () => {
    const store = open();
    store.append(G1, undefined, [entry(1, 1), entry(2, 1), entry(3, 1), entry(4, 1)]);
    await store.flush();
    store.restart(G1, logIndex(2), term(3));
    await store.flush();
    store.close();
    const again = open();
    expect([again.group(G1).firstIndex, again.group(G1).lastIndex]).toEqual([logIndex(3), logIndex(2)]);
    expect(again.group(G1).term(logIndex(2))).toBe(term(3));
    again.append(G1, undefined, [entry(3, 4)]);
    await again.flush();
    again.close();
    const third = open();
    expect(contents(third)).toEqual(["3/4:data 3 of term 4"]);
    third.close();
  });

  test.each([1, 3])(
    "the end of a log that a snapshot of term %d took the place of is nothing, though its beginning is gone",
    async (of) => {
      const store = open(bunFileSystem(), 1000);
      store.append(G1, undefined, [entry(1, 2), entry(2, 2), entry(3, 2, "x".repeat(1000))]);
      await store.flush();
      store.append(G1, undefined, [entry(4, 2)]);
      await store.flush();
      store.restart(G1, logIndex(2), term(of));
      await store.flush();
      store.close();
      expect(segments()[0]).toBe("000000000002.log");
      const again = open(bunFileSystem(), 1000);
      expect([again.group(G1).firstIndex, again.group(G1).lastIndex]).toEqual([logIndex(3), logIndex(2)]);
      expect(again.group(G1).term(logIndex(2))).toBe(term(of));
      again.close();
    },
  );
});

describe("log store on a disk in trouble", () => {
  const options = { segmentBytes: 200, cacheBytes: 1 << 20 };
  const openOn = (fs: MemoryFileSystem) =>
    LogStore.open({ fs, background: inlineBackground(fs) }, "/data/log", options);
  /** A crash with it forgets all that may be forgotten. */
  const forgetful = { below: () => 0, float: () => 0 };
  const failure = (flushing: Promise<void>) => flushing.then(String, (error: unknown) => error);

  test("a failed sync is final, also one that says the disk is full", async () => {
    const fs = new MemoryFileSystem();
    const store = openOn(fs);
    store.append(G1, undefined, [entry(1, 1)]);
    fs.onOperation = (operation) => {
      if (operation === "sync") throw new FileError("ENOSPC", "no space left on device");
    };
    const error = await failure(store.flush());
    expect(error).toBeInstanceOf(LogSyncError);
    expect(isDiskFull(error)).toBe(false);
  });

  test.each(["sync", "syncDirectory"] as const)("so is a failed %s where a segment begins", async (what) => {
    const fs = new MemoryFileSystem();
    const store = openOn(fs);
    store.append(G1, undefined, [entry(1, 1, "x".repeat(300))]);
    await store.flush();
    store.append(G1, undefined, [entry(2, 1)]);
    fs.onOperation = (operation) => {
      if (operation === what) throw new FileError("ENOSPC", "no space left on device");
    };
    expect(await failure(store.flush())).toBeInstanceOf(LogSyncError);
  });

  test("what a restarted log has read is on the disk, even if the last process could not sync it", async () => {
    const fs = new MemoryFileSystem();
    const store = openOn(fs);
    store.append(G1, undefined, [entry(1, 1)]);
    await store.flush();
    store.append(G1, undefined, [entry(2, 1)]);
    fs.onOperation = (operation) => {
      if (operation === "sync") throw new FileError("EIO", "input/output error");
    };
    expect(await failure(store.flush())).toBeInstanceOf(LogSyncError);
    fs.onOperation = undefined;
    // The process ends, the machine runs on, and so the system still has what it could not write.
    expect(openOn(fs).group(G1).lastIndex).toBe(logIndex(2));
    expect(openOn(fs.crash(forgetful)).group(G1).lastIndex).toBe(logIndex(2));
  });

  test("the name of the newest segment is durable before a restarted log goes on in it", async () => {
    const fs = new MemoryFileSystem();
    const store = openOn(fs);
    store.append(G1, undefined, [entry(1, 1, "x".repeat(300))]);
    await store.flush();
    store.append(G1, undefined, [entry(2, 1)]);
    // The process ends just before the directory is synced.
    const newest = "/data/log/000000000002.log";
    fs.onOperation = (operation) => {
      if (operation === "syncDirectory" && fs.exists(newest)) throw new FileError("EIO", "the process ended");
    };
    expect(await failure(store.flush())).toBeInstanceOf(LogSyncError);
    fs.onOperation = undefined;
    const again = openOn(fs);
    again.append(G1, undefined, [entry(2, 1)]);
    await again.flush();
    expect(openOn(fs.crash(forgetful)).group(G1).lastIndex).toBe(logIndex(2));
  });

  test("what is gathered while no segment can be begun waits for a flush of its own", async () => {
    const fs = new MemoryFileSystem();
    const store = openOn(fs);
    store.append(G1, undefined, [entry(1, 1, "x".repeat(300))]);
    await store.flush();
    store.append(G1, undefined, [entry(2, 1)]);
    fs.capacityBytes = fs.usedBytes;
    expect(isDiskFull(await failure(store.flush()))).toBe(true);
    // Whoever gathers this is told that it is durable by the next flush, not by the one that is tried again.
    store.append(G1, undefined, [entry(3, 1)]);
    fs.capacityBytes = Number.POSITIVE_INFINITY;
    await store.flush();
    expect(store.hasGathered).toBe(true);
    const retried = openOn(fs.copy());
    expect(retried.group(G1).lastIndex).toBe(logIndex(2));
    await store.flush();
    expect(store.hasGathered).toBe(false);
    expect(openOn(fs.copy()).group(G1).lastIndex).toBe(logIndex(3));
  });

  test("a spare that does not fit leaves the rest of the disk to the log, until the next segment", async () => {
    const fs = new MemoryFileSystem();
    const store = LogStore.open({ fs, background: inlineBackground(fs) }, "/data/log", {
      segmentBytes: 4096,
      cacheBytes: 1 << 20,
    });
    let attempts = 0;
    fs.onOperation = (operation, path) => {
      if (operation === "create" && path.includes("/spare-")) attempts++;
    };
    fs.capacityBytes = fs.usedBytes + 3000;
    for (let i = 1; i <= 10; i++) {
      store.append(G1, undefined, [entry(i, 1, "x".repeat(200))]);
      await store.flush();
      // The attempt is made, and undone, in the background.
      for (let step = 0; step < 20; step++) await Promise.resolve();
    }
    expect(attempts).toBe(1);
    expect(fs.list("/data/log").filter((name) => name.includes("spare"))).toEqual([]);
  });

  test("a closed segment whose end is missing is damage, also where a record ended", async () => {
    const fs = new MemoryFileSystem();
    const store = openOn(fs);
    const ends: number[] = [];
    for (let i = 1; i <= 9; i++) {
      store.append(G1, undefined, [entry(i, 1)]);
      await store.flush();
      ends.push(fs.readFile("/data/log/000000000001.log").length);
    }
    const path = "/data/log/000000000001.log";
    fs.writeFile(path, fs.readFile(path).slice(0, ends[0]));
    expect(() => openOn(fs.copy())).toThrow(/000000000001.log, offset \d+: the file ends there/);
  });

  test("the log's directory is durable before anything is in it", () => {
    const fs = new MemoryFileSystem();
    const synced: string[] = [];
    fs.onOperation = (operation, path) => {
      if (operation === "syncDirectory") synced.push(path);
    };
    openOn(fs);
    expect(synced).toContain("/data");
  });

  test("files are removed only when what is left has been read without complaint", async () => {
    const fs = new MemoryFileSystem();
    const store = openOn(fs);
    for (let i = 1; i <= 12; i++) {
      store.append(G1, undefined, [entry(i, 1)]);
      await store.flush();
    }
    // A segment in the middle is gone, and with it entries that are still needed.
    fs.remove("/data/log/000000000002.log");
    const files = () => fs.list("/data/log").filter((name) => name.endsWith(".log"));
    const before = files();
    expect(before.length).toBeGreaterThan(2);
    expect(() => openOn(fs)).toThrow(LogDamageError);
    expect(files()).toEqual(before);
  });
});

/** The real file system on a disk with `space` bytes left for each write: a write beyond it is short, and fails. */
function withSpace(disk: { space: number }): FileSystem {
  const real = bunFileSystem();
  const limited = (file: FileHandle): FileHandle => ({
    path: file.path,
    size: () => file.size(),
    read: (...args) => file.read(...args),
    write: (bytes, start, end, position) => {
      file.write(bytes, start, Math.min(end, start + disk.space), position);
      if (end - start > disk.space) throw new FileError("ENOSPC", "no space left on device");
    },
    sync: () => file.sync(),
    syncNow: () => file.syncNow(),
    truncate: (length) => file.truncate(length),
    close: () => file.close(),
  });
  return { ...real, open: (path, mode) => limited(real.open(path, mode)) };
}

describe("a group whose replica is gone", () => {
  const floor = (index: number, inTerm: number) => ({ index: logIndex(index), term: term(inTerm) });
  const state = (store: LogStore, group = G1) => {
    const { lastIndex, hardState: kept, floor: reached, mustClear } = store.group(group);
    return { last: Number(lastIndex), term: Number(kept.term), votedFor: kept.votedFor, reached, mustClear };
  };

  test("leaves its hard state and how far its log went, through restarts and new segments", async () => {
    let store = open(undefined, 200);
    store.append(G1, hardState(3, "n2"), [entry(1, 1), entry(2, 3)]);
    store.append(G2, hardState(1, "n1"), [entry(1, 1)]);
    await store.flush();
    store.drop(G1);
    const dropped = { last: 0, term: 3, votedFor: nodeId("n2"), reached: floor(2, 3), mustClear: true };
    expect(state(store)).toEqual(dropped);
    await store.flush();
    for (let index = 2; index < 12; index++) {
      store.append(G2, undefined, [entry(index, 1)]);
      store.compact(G2, logIndex(index));
      await store.flush();
    }
    expect(segments()).not.toContain("000000000001.log");
    store.close();
    store = open(undefined, 200);
    expect(state(store)).toEqual(dropped);
    expect(store.known).toEqual([G1, G2]);
    store.cleared(G1);
    for (let index = 12; index < 22; index++) {
      store.append(G2, undefined, [entry(index, 1)]);
      store.compact(G2, logIndex(index));
      await store.flush();
    }
    store.close();
    store = open(undefined, 200);
    expect(state(store)).toEqual({ ...dropped, mustClear: false });
    expect(store.known).toEqual([G2]);
    store.close();
  });

  test("may get another one, whose log begins anew, and the floor never sinks", async () => {
    let store = open();
    store.append(G1, hardState(3, "n2"), [entry(1, 1), entry(2, 3), entry(3, 3)]);
    store.compact(G1, logIndex(2));
    store.drop(G1);
    store.cleared(G1);
    store.append(G1, hardState(4, "n2"), [entry(1, 1), entry(2, 3)]);
    await store.flush();
    store.close();
    store = open();
    expect(contents(store)).toEqual(["1/1:data 1 of term 1", "2/3:data 2 of term 3"]);
    expect(store.group(G1).floor).toEqual(floor(3, 3));
    store.drop(G1);
    await store.flush();
    store.close();
    store = open();
    expect(state(store)).toMatchObject({ last: 0, term: 4, reached: floor(3, 3), mustClear: true });
    store.close();
  });

  test("that was not flushed is as it was", async () => {
    let store = open();
    store.append(G1, hardState(3, "n2"), [entry(1, 1)]);
    await store.flush();
    store.drop(G1);
    store.close();
    store = open();
    expect(contents(store)).toEqual(["1/1:data 1 of term 1"]);
    expect(store.group(G1).mustClear).toBe(false);
    store.close();
  });
});
