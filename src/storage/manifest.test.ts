import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { GrowingBytes } from "./fixed-width.ts";
import {
  decodeEdit,
  encodeEdit,
  type ManifestState,
  ManifestWriter,
  readManifest,
  type TableMeta,
  type VersionEdit,
} from "./manifest.ts";

function table(number: number, level: number): TableMeta {
  const keys = { smallestKey: utf8(`a${number}`), largestKey: utf8(`z${number}`) };
  return {
    number,
    level,
    bytes: 1000 + number,
    entries: 10,
    tombstones: 1,
    rangeTombstones: 2,
    expiring: 3,
    latestExpiry: 2 ** 42,
    overwritten: 4,
    largestKeyIncluded: level === 0,
    largestSequence: 2 ** 40,
    ...keys,
  };
}

function edit(added: TableMeta[], removed: number[]): VersionEdit {
  return { nextFileNumber: 100, lastSequence: 2 ** 41, flushedRecord: 17, added, removed };
}

const EMPTY: ManifestState = { nextFileNumber: 2, lastSequence: 0, flushedRecord: 0, tables: [] };

test("edits add up", async () => {
  const fs = new MemoryFileSystem();
  expect(readManifest(fs, "/d")).toBeUndefined();
  const manifest = await ManifestWriter.create(fs, "/d", 1, EMPTY);
  expect(readManifest(fs, "/d")).toEqual(EMPTY);
  await manifest.append(edit([table(5, 0), table(6, 0)], []));
  await manifest.append(edit([table(7, 1)], [5]));
  const state = {
    nextFileNumber: 100,
    lastSequence: 2 ** 41,
    flushedRecord: 17,
    tables: [table(6, 0), table(7, 1)],
  };
  expect(readManifest(fs, "/d")).toEqual(state);
  await manifest.replace(8, state);
  expect(fs.list("/d")).toEqual(["000008.manifest", "CURRENT"]);
  expect(readManifest(fs, "/d")).toEqual(state);
});

test("a torn last edit does not count; damage before it is refused", async () => {
  const fs = new MemoryFileSystem();
  const manifest = await ManifestWriter.create(fs, "/d", 1, EMPTY);
  await manifest.append(edit([table(5, 0)], []));
  const before = manifest.size;
  await manifest.append(edit([table(6, 0)], []));
  const good = fs.readFile("/d/000001.manifest");
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bytes = good.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    fs.writeFile("/d/000001.manifest", bytes);
    if (bit >> 3 < before)
      expect(() => readManifest(fs, "/d")).toThrow("/d/000001.manifest: damaged at offset");
    else expect(readManifest(fs, "/d")?.tables).toEqual([table(5, 0)]);
  }
});

test("every cut of a manifest leaves its whole edits, and is refused where the first one is not whole", async () => {
  const fs = new MemoryFileSystem();
  const manifest = await ManifestWriter.create(fs, "/d", 1, EMPTY);
  const ends = [manifest.size];
  for (const number of [5, 6]) {
    await manifest.append(edit([table(number, 0)], []));
    ends.push(manifest.size);
  }
  const good = fs.readFile("/d/000001.manifest");
  for (let length = 0; length < good.length; length++) {
    fs.writeFile("/d/000001.manifest", good.slice(0, length));
    const whole = ends.filter((end) => end <= length).length;
    if (whole === 0) expect(() => readManifest(fs, "/d")).toThrow("/d/000001.manifest: damaged at offset");
    else
      expect(readManifest(fs, "/d")?.tables.map(({ number }) => number)).toEqual([5, 6].slice(0, whole - 1));
  }
});

test("after an edit that failed only a new manifest takes further ones, and the old one counts until then", async () => {
  const fs = new MemoryFileSystem();
  const manifest = await ManifestWriter.create(fs, "/d", 1, EMPTY);
  fs.capacityBytes = fs.usedBytes + 20;
  await expect(manifest.append(edit([table(5, 0)], []))).rejects.toMatchObject({ code: "ENOSPC" });
  expect(manifest.mustBeReplaced).toBe(true);
  await expect(manifest.append(edit([table(5, 0)], []))).rejects.toThrow("an edit after one that failed");
  await expect(manifest.replace(2, EMPTY)).rejects.toMatchObject({ code: "ENOSPC" });
  expect(readManifest(fs, "/d")).toEqual(EMPTY);
  fs.capacityBytes = Number.POSITIVE_INFINITY;
  await manifest.replace(3, EMPTY);
  await manifest.append(edit([table(5, 0)], []));
  expect(fs.list("/d")).toEqual(["000003.manifest", "CURRENT"]);
  expect(readManifest(fs, "/d")?.tables).toEqual([table(5, 0)]);
});

test("a new manifest that CURRENT names stays, also where its directory can't be synced", async () => {
  const fs = new MemoryFileSystem();
  await ManifestWriter.create(fs, "/d", 1, EMPTY);
  let isNamed = false;
  fs.onOperation = (operation) => {
    isNamed ||= operation === "rename";
    if (isNamed && operation === "syncDirectory") throw new Error("EIO");
  };
  await expect(ManifestWriter.create(fs, "/d", 2, EMPTY)).rejects.toMatchObject({ code: "FAILED" });
  // A process that starts again on the running machine sees the new name.
  expect(readManifest(fs, "/d")).toEqual(EMPTY);
  expect(readManifest(fs.crash(seededRandom(1)), "/d")).toEqual(EMPTY);
});

test("every flipped bit of CURRENT is found", async () => {
  const fs = new MemoryFileSystem();
  await ManifestWriter.create(fs, "/d", 1, EMPTY);
  const good = fs.readFile("/d/CURRENT");
  for (let at = 0; at < good.length; at++) {
    const bytes = good.slice();
    bytes[at]! ^= 1;
    fs.writeFile("/d/CURRENT", bytes);
    expect(() => readManifest(fs, "/d")).toThrow("/d/CURRENT: damaged");
  }
});

test("an edit that ends early or late is refused", () => {
  const out = new GrowingBytes();
  encodeEdit(out, edit([table(1, 6)], [3, 4]));
  const bytes = out.view().slice();
  expect(decodeEdit(bytes, "m", 0)).toEqual(edit([table(1, 6)], [3, 4]));
  for (let length = 0; length < bytes.length; length++) {
    expect(() => decodeEdit(bytes.subarray(0, length), "m", 0)).toThrow("m: damaged at offset");
  }
  expect(() => decodeEdit(Buffer.concat([bytes, Buffer.of(0)]), "m", 0)).toThrow("followed by 1 bytes");
});
