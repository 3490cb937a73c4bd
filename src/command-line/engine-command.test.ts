import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import { FileError } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import { Entry } from "../storage/cursor.ts";
import { LSM_DEFAULTS, type LsmOptions, tableOptions } from "../storage/lsm-options.ts";
import { ManifestWriter, metaOf, type TableMeta } from "../storage/manifest.ts";
import { TableWriter } from "../storage/table-writer.ts";
import {
  contentsOf,
  DIRECTORY,
  damage,
  filesOf,
  fill,
  imageOf,
  keyOf,
  makeStore,
  openStore,
  reopened,
  SMALL,
} from "../storage/tools/test-store.ts";
import { runEngineCommand } from "./engine-command.ts";

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(fs: MemoryFileSystem, ...args: string[]): Promise<Outcome> {
  let out = "";
  let err = "";
  const code = await runEngineCommand(args, {
    fs,
    clock: systemClock(),
    name: "bun run engine",
    isTerminal: false,
    writeOut: (text) => {
      out += text;
    },
    writeError: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}

/** Nothing is compacted, so that the versions of keys lie in many tables. */
const UNCOMPACTED = { ...SMALL, level0Tables: 100, level0TablesSlow: 100, level0TablesStop: 100 };

/** Repairs, and checks what holds for every repair: it is clean then, and every byte that was there is still somewhere. */
async function repaired(fs: MemoryFileSystem, ...flags: string[]): Promise<string> {
  const before = imageOf(fs);
  const plan = await run(fs, "repair", DIRECTORY, ...flags);
  expect(plan.code).toBe(1);
  expect(plan.out).toContain(`To do this: bun run engine repair ${DIRECTORY}`);
  expect(imageOf(fs)).toEqual(before);
  const { code, out } = await run(fs, "repair", DIRECTORY, "--yes", ...flags);
  expect([code, out]).toEqual([0, expect.stringContaining("no problems")]);
  expectKept(fs, before);
  return out;
}

function expectKept(fs: MemoryFileSystem, before: Record<string, string>): void {
  const kept = new Set(Object.values(imageOf(fs)));
  for (const lost of fs.list(`${DIRECTORY}/lost`))
    for (const bytes of Object.values(imageOf(fs, `${DIRECTORY}/lost/${lost}`))) kept.add(bytes);
  for (const [name, bytes] of Object.entries(before)) expect([name, kept.has(bytes)]).toEqual([name, true]);
}

test("a whole store verifies, and neither command changes it", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs);
  const before = imageOf(fs);
  expect(await run(fs, "verify", DIRECTORY)).toEqual({
    code: 0,
    out: expect.stringMatching(/^no problems: \d tables with \d{3} entries, 1 log file with \d\d records\n$/),
    err: "",
  });
  expect(await run(fs, "repair", DIRECTORY, "--yes")).toEqual({
    code: 0,
    out: "nothing to repair\n",
    err: "",
  });
  expect(imageOf(fs)).toEqual(before);
});

/** What each key of `makeStore` ever was: where a version is lost, an older one may show. */
function versionsOfStore(): Map<string, Set<string>> {
  const versions = new Map<string, Set<string>>();
  for (const value of ["first", "second", "log"])
    for (let n = 0; n < 700; n++) {
      const all = versions.get(keyOf(n)) ?? new Set();
      versions.set(keyOf(n), all.add(`${value} of ${n}`));
    }
  return versions.set("expiring", new Set(["later"]));
}

/** Flipped bits that are tried; RUNS asks for more. */
const FLIPS = Number(process.env.RUNS ?? 60);

test("a flipped bit anywhere in a store is found, and repaired without a wrong answer", async () => {
  const whole = new MemoryFileSystem();
  await makeStore(whole, UNCOMPACTED);
  const versions = versionsOfStore();
  const random = seededRandom(7);
  const names = whole.list(DIRECTORY);
  let found = 0;
  for (let round = 0; round < FLIPS; round++) {
    const fs = whole.copy();
    const name = names[round % names.length]!;
    const offset = random.below(whole.readFile(`${DIRECTORY}/${name}`).length);
    damage(fs, name, offset);
    const where = `${name} at ${offset}`;
    const { code, out } = await run(fs, "verify", DIRECTORY);
    // The last record of a file can't be told from a write that was never finished.
    if (code === 0) {
      expect([where, out]).toEqual([where, expect.stringMatching(/ends here|never finished/)]);
      continue;
    }
    found++;
    expect([where, code, out]).toEqual([where, 1, expect.stringContaining(`${DIRECTORY}/${name}: offset `)]);
    await repaired(fs);
    const contents = await reopened(fs);
    for (const [key, value] of contents)
      expect([where, key, versions.get(key)?.has(value)]).toEqual([where, key, true]);
    if (name === "CURRENT") expect([where, contents]).toEqual([where, await reopened(whole.copy())]);
  }
  expect(found).toBeGreaterThan(FLIPS * 0.8);
}, 600_000);

test("whatever happens to its files, what a repair gives back was once written", async () => {
  const seed = testSeed("engine-command");
  const versions = versionsOfStore();
  const wholes: MemoryFileSystem[] = [];
  for (const options of [
    SMALL,
    UNCOMPACTED,
    { ...SMALL, walFileBytes: 3000, compression: "zstd" as const },
  ]) {
    const whole = new MemoryFileSystem();
    await makeStore(whole, options);
    wholes.push(whole);
  }
  let repairs = 0;
  for (let round = 0; round < FLIPS; round++) {
    const random = seededRandom(seed + round);
    const fs = wholes[round % wholes.length]!.copy();
    for (let left = 1 + random.below(6); left > 0; left--) spoil(fs, random);
    const where = `SEED=${seed + round}`;
    if (fs.list(DIRECTORY).length === 0) continue;
    try {
      const flags = random.below(2) === 0 ? [] : ["--after-damage"];
      const { code, out, err } = await run(fs, "repair", DIRECTORY, ...flags);
      expect([code, err]).toEqual([expect.any(Number), ""]);
      if (code === 1) {
        repairs++;
        expect(out).toContain("What is lost, or not known:");
        await repaired(fs, ...flags);
      }
      for (const [key, value] of await reopened(fs))
        expect([key, versions.get(key)?.has(value)]).toEqual([key, true]);
      for (const name of wholes[0]!.list(DIRECTORY))
        if (fs.exists(`${DIRECTORY}/${name}`))
          expect((await run(fs, "dump", `${DIRECTORY}/${name}`)).code).toBeLessThan(2);
    } catch (error) {
      throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
    }
  }
  expect(repairs).toBeGreaterThan(FLIPS * 0.7);
}, 600_000);

/** One of the things that happen to files. */
function spoil(fs: MemoryFileSystem, random: Random): void {
  const names = fs.list(DIRECTORY);
  const name = names[random.below(names.length)];
  if (name === undefined) return;
  const path = `${DIRECTORY}/${name}`;
  const bytes = fs.readFile(path);
  const at = random.below(bytes.length + 1);
  switch (random.below(6)) {
    case 0:
      fs.remove(path);
      break;
    case 1:
      fs.writeFile(path, bytes.subarray(0, at));
      break;
    case 2:
      fs.writeFile(path, bytes.fill(0, at, at + 512));
      break;
    case 3:
      for (let i = at; i < Math.min(bytes.length, at + 100); i++) bytes[i] = random.below(256);
      fs.writeFile(path, bytes);
      break;
    case 4: {
      const longer = new Uint8Array(bytes.length + random.below(300));
      longer.set(bytes);
      fs.writeFile(path, longer);
      break;
    }
    default:
      if (bytes.length > 0) damage(fs, name, at % bytes.length);
  }
}

/** A closed store of 500 keys that were written once: a lost entry is a lost key. */
async function makePlainStore(
  fs: MemoryFileSystem,
  options: Partial<LsmOptions>,
): Promise<Map<string, string>> {
  const engine = await openStore(fs, DIRECTORY, options);
  await fill(engine, 0, 500, "first");
  await engine.flush();
  const contents = contentsOf(engine);
  await engine.close();
  return contents;
}

test("a damaged block costs its own entries, and the report says which", async () => {
  for (const compression of ["none", "zstd"] as const) {
    const fs = new MemoryFileSystem();
    const before = await makePlainStore(fs, { ...SMALL, compression });
    const table = filesOf(fs, "table")[2]!;
    damage(fs, table, 10);
    const out = await repaired(fs);
    expect(out).toMatch(/\.table: \d+ entries of \d+ are written/);
    const lost = Number(/\.table: (\d+) entries are lost/.exec(out)![1]);
    expect(lost).toBeGreaterThan(3);
    expect(lost).toBeLessThan(60);
    expect(out).toMatch(/it has keys (above ".*" )?up to "key0/);
    const after = await reopened(fs);
    expect(after.size).toBe(before.size - lost);
    for (const [key, value] of after) expect(value).toBe(before.get(key)!);
  }
});

test("where an index is lost, the data blocks are found without it", async () => {
  for (const compression of ["none", "zstd"] as const) {
    for (const part of ["top index", "partition", "footer", "properties"]) {
      const fs = new MemoryFileSystem();
      const before = await makeStore(fs, { ...SMALL, compression });
      const table = filesOf(fs, "table")[1]!;
      const { out: dumped } = await run(fs, "dump", `${DIRECTORY}/${table}`, "--limit", "0");
      damage(fs, table, Number(new RegExp(`${part} at (\\d+)`).exec(dumped)![1]) + 2);
      const out = await repaired(fs);
      expect(out).toMatch(/\.table: (\d+) entries( of \1)? are written/);
      expect([part, await reopened(fs)]).toEqual([part, before]);
    }
  }
});

test("a table that is missing or cut short is told with the keys that it had", async () => {
  const fs = new MemoryFileSystem();
  const before = await makePlainStore(fs, SMALL);
  const [first, , third] = filesOf(fs, "table");
  fs.remove(`${DIRECTORY}/${first}`);
  fs.writeFile(`${DIRECTORY}/${third}`, fs.readFile(`${DIRECTORY}/${third}`).subarray(0, 1000));
  const { code, out } = await run(fs, "verify", DIRECTORY);
  expect(code).toBe(1);
  const missing = new RegExp(`${first} of level \\d is missing: (\\d+) entries from "key0000" to "key0`);
  expect(out).toMatch(missing);
  expect(out).toContain(`${third}: offset 1000: the file has 1000 bytes, and was written with `);
  const tables = filesOf(fs, "table").length;
  expect(out).toMatch(new RegExp(`^\\d problems: ${tables} tables with `, "m"));
  const told = await repaired(fs);
  expect(told).toMatch(missing);
  expect(told).toContain(`${first}: it is taken out of the manifest`);
  const after = await reopened(fs);
  for (const [key, value] of after) expect(value).toBe(before.get(key)!);
  const lost = Number(missing.exec(told)![1]);
  expect(after.has(keyOf(0))).toBe(false);
  expect(after.has(keyOf(lost))).toBe(true);
  const lostInThird = Number(new RegExp(`${third}: (\\d+) entries are lost`).exec(told)![1]);
  expect(lostInThird).toBeGreaterThan(10);
  expect(after.size).toBe(before.size - lost - lostInThird);
});

test("a lost table of deletes is told, since what they hid may be back", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs, UNCOMPACTED);
  const table = filesOf(fs, "table").at(-1)!;
  const { out: dumped } = await run(fs, "dump", `${DIRECTORY}/${table}`, "--limit", "0");
  expect(dumped).toContain('range tombstone "key0400" up to "key0420"');
  // Between the top index and the properties.
  damage(fs, table, Number(/properties at (\d+)/.exec(dumped)![1]) - 20);
  const out = await repaired(fs);
  expect(out).toContain("1 delete of ranges of keys are lost: what they deleted may be back");
  expect((await reopened(fs)).get(keyOf(405))).toBe("first of 405");
});

test("a damaged log: the batches before the damage by default, all that can be read if asked for", async () => {
  const whole = new MemoryFileSystem();
  const before = await makeStore(whole);
  const log = filesOf(whole, "wal")[0]!;
  const { out: dumped } = await run(whole, "dump", `${DIRECTORY}/${log}`);
  // Record 74 writes key0620 to key0629.
  const offset = Number(/record 74 at (\d+)/.exec(dumped)![1]);
  damage(whole, log, offset + 40);
  await expect(openStore(whole)).rejects.toMatchObject({ code: "CORRUPT" });

  let fs = whole.copy();
  let out = await repaired(fs);
  expect(out).toContain("the log: what is in no table yet (2 batches) is written to tables");
  expect(out).toContain("record 74 can't be read: these batches are lost");
  expect(out).toContain("3 batches behind the damage can be read, and are left out");
  let after = await reopened(fs);
  expect(after).toEqual(new Map([...before].filter(([key]) => key < keyOf(620))));

  fs = whole.copy();
  out = await repaired(fs, "--after-damage");
  expect(out).toContain("the log: what is in no table yet (5 batches)");
  after = await reopened(fs);
  expect(after).toEqual(new Map([...before].filter(([key]) => key < keyOf(620) || key >= keyOf(630))));
});

test("a log file whose header is damaged still gives its records", async () => {
  const fs = new MemoryFileSystem();
  const before = await makeStore(fs);
  const log = filesOf(fs, "wal")[0]!;
  damage(fs, log, 20);
  const { out } = await run(fs, "dump", `${DIRECTORY}/${log}`, "--limit", "1");
  expect(out).toContain("DAMAGED at 0: the header's checksum is wrong; the next record is at 40");
  await repaired(fs);
  expect(await reopened(fs)).toEqual(before);
});

test("a repaired store gives out no record or file number again, and can be written to", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs);
  const { out: log } = await run(fs, "dump", `${DIRECTORY}/${filesOf(fs, "wal")[0]}`);
  const records = log.match(/^record /gm)!.length;
  damage(fs, filesOf(fs, "wal")[0]!, 23_300);
  const numbers = fs
    .list(DIRECTORY)
    .map((name) => Number.parseInt(name, 10))
    .filter((n) => n > 0);
  await repaired(fs);
  const { out: manifest } = await run(fs, "dump", `${DIRECTORY}/${filesOf(fs, "manifest")[0]}`);
  expect(Number(/flushed record (\d+)/.exec(manifest)![1])).toBe(records);
  const engine = await openStore(fs);
  await fill(engine, 610, 20, "new");
  const contents = contentsOf(engine);
  await engine.close();
  expect(contents.get(keyOf(615))).toBe("new of 615");
  expect(await reopened(fs)).toEqual(contents);
  const kept = filesOf(fs, "table")
    .map((name) => Number.parseInt(name, 10))
    .filter((n) => !numbers.includes(n));
  for (const number of kept) expect(number).toBeGreaterThan(Math.max(...numbers));
  expect((await run(fs, "verify", DIRECTORY)).code).toBe(0);
});

test("without a manifest the store is put together from its tables, whatever level they were of", async () => {
  // Deep tables with high sequence numbers for some keys, and low ones for others.
  for (const options of [
    SMALL,
    UNCOMPACTED,
    { ...SMALL, level0Tables: 4, level1Bytes: 3000, walFileBytes: 2000 },
  ]) {
    const fs = new MemoryFileSystem();
    const engine = await openStore(fs, DIRECTORY, options);
    const random = seededRandom(11);
    for (let round = 0; round < 60; round++) {
      await fill(engine, random.below(300), 1 + random.below(30), `round ${round}`);
      const batch = engine.newBatch();
      for (let i = 0; i < 5; i++) batch.delete(utf8(keyOf(random.below(300))));
      if (round % 10 === 5) batch.deleteRange(utf8(keyOf(40)), utf8(keyOf(60)));
      await engine.write(batch);
    }
    await engine.flush();
    await fill(engine, 290, 30, "in the log");
    const before = contentsOf(engine);
    await engine.close();
    const manifest = filesOf(fs, "manifest").at(-1)!;
    fs.remove(`${DIRECTORY}/${manifest}`);
    const { code, out } = await run(fs, "verify", DIRECTORY);
    expect([code, out]).toEqual([1, expect.stringContaining(`it names ${manifest}, which is not there`)]);
    const told = await repaired(fs);
    expect(told).toContain("keys that had been deleted may be back");
    expect(await reopened(fs)).toEqual(before);
  }
});

test("where the manifest's last edits are gone, the tables that it does not name are taken", async () => {
  const fs = new MemoryFileSystem();
  const engine = await openStore(fs, DIRECTORY, UNCOMPACTED);
  await fill(engine, 0, 300, "first");
  await fill(engine, 50, 100, "second");
  await engine.flush();
  const manifest = `${DIRECTORY}/${filesOf(fs, "manifest")[0]}`;
  const older = fs.readFile(manifest);
  await engine.compact();
  const before = contentsOf(engine);
  await engine.close();
  fs.writeFile(manifest, older);
  await expect(openStore(fs)).rejects.toThrow(/table \d+ is missing/);
  expect(await repaired(fs)).toContain(
    "the manifest's last edits are lost: all tables that are there are taken",
  );
  expect(await reopened(fs)).toEqual(before);
});

/** Writes a table of puts, one key after the other: `[key, sequence, value]`. */
function writeTable(
  fs: MemoryFileSystem,
  number: number,
  level: number,
  entries: readonly (readonly [string, number, string])[],
): TableMeta {
  const writer = new TableWriter(fs, DIRECTORY, number, {
    ...tableOptions(LSM_DEFAULTS, level),
    blockBytes: 60,
  });
  for (const [key, sequence, value] of entries) {
    const entry = new Entry();
    entry.keyBytes = utf8(key);
    entry.keyEnd = entry.keyBytes.length;
    entry.sequence = sequence;
    entry.valueBytes = utf8(value);
    entry.valueEnd = entry.valueBytes.length;
    writer.add(entry);
  }
  return metaOf(writer.finish(), level);
}

/** A deep table with an old version of `a`, and of all keys the one with the highest sequence number; and the newer `a`. */
function writeTwoLevels(fs: MemoryFileSystem): TableMeta[] {
  const keys = Array.from({ length: 20 }, (_, n) => [`k${10 + n}`, 100 + n, "deep"] as const);
  return [writeTable(fs, 5, 6, [["a", 1, "old"], ...keys]), writeTable(fs, 6, 5, [["a", 50, "new"]])];
}

test("without a manifest a table with a high sequence number is not taken for newer as a whole", async () => {
  const fs = new MemoryFileSystem();
  writeTwoLevels(fs);
  await repaired(fs);
  const contents = await reopened(fs);
  expect([contents.size, contents.get("a")]).toEqual([21, "new"]);
});

test("what is saved of a deep table stays below the newer ones", async () => {
  const fs = new MemoryFileSystem();
  const tables = writeTwoLevels(fs);
  const state = { nextFileNumber: 8, lastSequence: 200, flushedRecord: 0, tables };
  (await ManifestWriter.create(fs, DIRECTORY, 7, state)).close();
  const { out } = await run(fs, "dump", `${DIRECTORY}/000005.table`);
  damage(fs, "000005.table", Number([...out.matchAll(/data block at (\d+)/g)].at(-1)![1]));
  expect(await repaired(fs)).toMatch(/000005\.table: \d\d entries of 21 are written/);
  const contents = await reopened(fs);
  expect(contents.get("a")).toBe("new");
  expect(contents.size).toBeGreaterThan(15);
});

test("what the log has is newer than what is saved of tables whose numbers are not known", async () => {
  const fs = new MemoryFileSystem();
  const engine = await openStore(fs, DIRECTORY, UNCOMPACTED);
  const batch = engine.newBatch();
  for (let n = 0; n < 200; n++) batch.put(utf8(keyOf(n)), utf8("table"));
  // Past the log, so that it has few batches and the table high sequence numbers.
  engine.writeUnlogged(batch);
  await engine.flush();
  await fill(engine, 0, 10, "log");
  await engine.close();
  fs.remove(`${DIRECTORY}/CURRENT`);
  for (const manifest of filesOf(fs, "manifest")) fs.remove(`${DIRECTORY}/${manifest}`);
  damage(fs, filesOf(fs, "table")[0]!, 1000);
  expect(await repaired(fs)).toContain("Nothing can be read of what the manifest said");
  const contents = await reopened(fs);
  for (let n = 0; n < 10; n++) expect(contents.get(keyOf(n))).toBe(`log of ${n}`);
  expect(contents.size).toBeGreaterThan(150);
});

test("deletes of ranges outlive the damage of a block beside them", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs, UNCOMPACTED);
  damage(fs, filesOf(fs, "table").at(-1)!, 10);
  expect(await repaired(fs)).not.toContain("deletes of ranges");
  const contents = await reopened(fs);
  for (let n = 400; n < 420; n++) expect(contents.has(keyOf(n))).toBe(false);
});

test("where an index and a block before it are damaged, the blocks behind are found", async () => {
  const fs = new MemoryFileSystem();
  const before = await makePlainStore(fs, { ...SMALL, partitionBytes: 10_000 });
  const table = filesOf(fs, "table")[1]!;
  const { out } = await run(fs, "dump", `${DIRECTORY}/${table}`);
  const blocks = [...out.matchAll(/data block at (\d+).*?(?=data block|$)/gs)];
  const second = blocks[1]!;
  const entries = second[0].match(/ put /g)!.length;
  damage(fs, table, Number(second[1]) + 20);
  damage(fs, table, Number(/partition at (\d+)/.exec(out)![1]) + 20);
  expect(await repaired(fs)).toContain(`${table}: ${entries} entries are lost`);
  expect((await reopened(fs)).size).toBe(before.size - entries);
});

test("a repair that the disk ends early leaves nothing of its own beside the damaged store", async () => {
  const damaged = new MemoryFileSystem();
  await makeStore(damaged);
  damage(damaged, filesOf(damaged, "wal")[0]!, 23_300);
  damage(damaged, filesOf(damaged, "table")[1]!, 100);
  const before = imageOf(damaged);
  for (const failing of ["link", "syncDirectory", "makeDirectory"]) {
    const fs = damaged.copy();
    fs.onOperation = (operation, path) => {
      if (operation === failing) throw new FileError("EIO", `${operation} ${path}: no`);
    };
    const { code, err } = await run(fs, "repair", DIRECTORY, "--yes");
    expect([failing, code, err]).toEqual([failing, 2, expect.stringContaining("no")]);
    expect([failing, imageOf(fs)]).toEqual([failing, before]);
    fs.onOperation = undefined;
    await repaired(fs);
  }
});

test("tables that some edit says were removed do not come back", async () => {
  const fs = new MemoryFileSystem();
  const engine = await openStore(fs, DIRECTORY, { ...SMALL, manifestBytes: 1_000_000 });
  await fill(engine, 0, 200, "old");
  await engine.flush();
  // A reader keeps the files of tables that a compaction replaces.
  const reader = engine.iterate({});
  const batch = engine.newBatch();
  batch.deleteRange(utf8(keyOf(0)), utf8(keyOf(150)));
  await engine.write(batch);
  await engine.compact();
  const before = contentsOf(engine);
  expect(before.size).toBe(50);
  // The process ends without having removed them.
  const disk = fs.copy();
  reader.close();
  await engine.close();
  expect(filesOf(disk, "table").length).toBeGreaterThan(1);
  disk.remove(`${DIRECTORY}/CURRENT`);
  // The manifest's last record is damaged: it is not known whether there were more.
  const manifest = filesOf(disk, "manifest").at(-1)!;
  const size = disk.readFile(`${DIRECTORY}/${manifest}`).length;
  const bytes = new Uint8Array(size + 60);
  bytes.set(disk.readFile(`${DIRECTORY}/${manifest}`));
  disk.writeFile(`${DIRECTORY}/${manifest}`, bytes);
  const out = await repaired(disk);
  expect(out).toMatch(/some manifest says had been removed stay out/);
  expect(await reopened(disk)).toEqual(before);
});

test("the power fails at every operation of a repair: it can be begun again, and nothing is lost by that", async () => {
  for (const kind of ["table and log", "manifest"]) {
    const damaged = new MemoryFileSystem();
    await makeStore(damaged);
    if (kind === "manifest") damaged.remove(`${DIRECTORY}/CURRENT`);
    else damage(damaged, filesOf(damaged, "wal")[0]!, 23_300);
    damage(damaged, filesOf(damaged, "table")[1]!, 100);
    const before = imageOf(damaged);
    const done = damaged.copy();
    expect((await run(done, "repair", DIRECTORY, "--yes")).code).toBe(0);
    const expected = await reopened(done);
    let crashes = 0;
    for (let at = 1; ; at++) {
      const random = seededRandom(at);
      const fs = damaged.copy();
      let count = 0;
      let survivor: MemoryFileSystem | undefined;
      fs.onOperation = (_operation, path) => {
        if (++count !== at) return;
        survivor = fs.crash(random);
        throw new FileError("EIO", `${path}: the power failed`);
      };
      await run(fs, "repair", DIRECTORY, "--yes");
      if (survivor === undefined) break;
      crashes++;
      const disk: MemoryFileSystem = survivor;
      expectKept(disk, before);
      const again = await run(disk, "repair", DIRECTORY, "--yes");
      expect([kind, at, again.code, again.err]).toEqual([kind, at, 0, ""]);
      expect([kind, at, await reopened(disk)]).toEqual([kind, at, expected]);
    }
    expect(crashes).toBeGreaterThan(15);
  }
}, 60_000);

test("a disk that is full leaves the damaged store as it is", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs);
  damage(fs, filesOf(fs, "table")[1]!, 100);
  const before = imageOf(fs);
  fs.capacityBytes = fs.usedBytes + 1000;
  const { code, err } = await run(fs, "repair", DIRECTORY, "--yes");
  expect([code, err]).toEqual([2, expect.stringContaining("no space left")]);
  expect(imageOf(fs)).toEqual(before);
  fs.capacityBytes = Number.POSITIVE_INFINITY;
  await repaired(fs);
});

test("what can't be done is said with exit code 2", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs);
  const failure = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run(fs, ...args);
    expect([code, out]).toEqual([2, ""]);
    return err;
  };
  expect(await failure("verify", "/d/nothing")).toBe(
    "error: there is no store in /d/nothing: no CURRENT, no tables, no logs\n",
  );
  expect(await failure("dump", "/d/nothing")).toContain("there is no file /d/nothing");
  fs.writeFile("/d/letter", utf8("dear reader"));
  expect(await failure("dump", "/d/letter")).toContain("is not named like a file of a store");
  expect(await failure("dump", `${DIRECTORY}/CURRENT`, "--limit", "few")).toContain(
    "--limit needs a number, not few",
  );
  expect(await failure("verfy", DIRECTORY)).toContain("(Did you mean verify?)");
  expect(await failure("verify")).toContain("missing required argument 'directory'");
  expect(await failure("repair", DIRECTORY, "--yess")).toContain("(Did you mean --yes?)");
  expect(await failure()).toContain("Usage: bun run engine");
  expect(await run(fs, "--help")).toMatchObject({ code: 0, out: expect.stringContaining("repair") });

  fs.writeFile(`${DIRECTORY}/LOCK`, new Uint8Array(0));
  const engine = await openStore(fs);
  expect(await failure("verify", DIRECTORY)).toBe("error: the store in /d/store is open already\n");
  expect(await failure("repair", DIRECTORY, "--yes")).toBe("error: the store in /d/store is open already\n");
  await engine.close();
  // The lock was given back each time.
  expect((await run(fs, "verify", DIRECTORY)).code).toBe(0);
  expect((await run(fs, "verify", DIRECTORY)).code).toBe(0);
});

test("verify --json is one object, also of problems", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs);
  damage(fs, filesOf(fs, "table")[1]!, 100);
  const { code, out } = await run(fs, "verify", DIRECTORY, "--json");
  expect(code).toBe(1);
  const report = JSON.parse(out);
  expect(report.problems).toHaveLength(1);
  expect(report.problems[0]).toMatchObject({ path: `${DIRECTORY}/${filesOf(fs, "table")[1]}`, offset: 0 });
});

test("leftovers are told, and are no problem", async () => {
  const fs = new MemoryFileSystem();
  await makeStore(fs);
  fs.writeFile(`${DIRECTORY}/000777.table`, new Uint8Array(10));
  fs.writeFile(`${DIRECTORY}/CURRENT.tmp`, new Uint8Array(10));
  fs.writeFile(`${DIRECTORY}/letter`, new Uint8Array(10));
  const { code, out } = await run(fs, "verify", DIRECTORY);
  expect(code).toBe(0);
  expect(out).toContain("000777.table: no part of the store, it goes when the store is opened");
  expect(out).toContain("CURRENT.tmp: left over");
  expect(out).toContain("letter: no file of the store, it stays");
});

test("what lies behind the records of a log file is told of the newest one only: the others were used again", async () => {
  const fs = new MemoryFileSystem();
  const engine = await openStore(fs, DIRECTORY, { ...SMALL, memtableBytes: 1 << 20, walFileBytes: 2000 });
  await fill(engine, 0, 300, "value");
  const killed = fs.copy();
  const logs = filesOf(killed, "wal").map((name) => `${DIRECTORY}/${name}`);
  expect(logs.length).toBeGreaterThan(4);
  for (const path of logs)
    killed.writeFile(path, Buffer.concat([killed.readFile(path), new Uint8Array(100)]));
  const { code, out } = await run(killed, "verify", DIRECTORY);
  expect(code).toBe(0);
  expect(out.match(/\S+ offset \d+: the log ends here/g)?.length).toBe(1);
});
