/**
 * Every bit of small tables is flipped, one at a time. A store that reads such a table answers rightly or says `CORRUPT`;
 * it never gives a wrong answer, and never an error that tells less. That holds for gets, for scans both ways and from
 * anywhere, and for compactions, which must not copy damage under a fresh checksum.
 */
import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import type { Engine, ScanRange } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";
import { StorageError } from "./storage-error.ts";

const DIRECTORY = "/d/store";
const silent = (): void => {};
const LOG = { debug: silent, info: silent, warn: silent, error: silent };

/** Tables stay as they are: nothing is compacted unless that is asked for. */
const QUIET: Partial<LsmOptions> = {
  memtableBytes: 20_000,
  level0Tables: 50,
  level0TablesSlow: 100,
  level0TablesStop: 100,
};

/** The time at which everything is read, and times before and after it. */
const NOW = 10;
const EARLIER = 5;
const LATER = 15;

async function open(fs: MemoryFileSystem, options: Partial<LsmOptions>): Promise<Engine> {
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: LOG };
  const engine = await openLsm(env, DIRECTORY, { ...QUIET, ...options });
  engine.advanceTime(NOW);
  return engine;
}

type Model = Map<string, string>;

/** Keys that are prefixes of each other and share prefixes, some of them long. */
function randomKey(random: Random): string {
  const length = random.below(10) === 0 ? 60 : random.below(4);
  return `k${"ab"[random.below(2)]!.repeat(length)}${random.below(5)}`;
}

/** Random work into one table: keys overwritten, deleted, one by one and in ranges; values that expire, or compress. */
async function writeTable(engine: Engine, model: Model, random: Random, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const batch = engine.newBatch();
    const key = randomKey(random);
    const kind = random.below(12);
    if (kind < 2) {
      batch.delete(utf8(key));
      model.delete(key);
    } else if (kind === 2) {
      const end = `${key}b`;
      batch.deleteRange(utf8(key), utf8(end));
      for (const other of model.keys()) if (key <= other && other < end) model.delete(other);
    } else {
      const value = random.below(2) === 0 ? "v".repeat(random.below(60)) : String(random.below(2 ** 30));
      batch.put(utf8(key), utf8(value), kind === 3 ? EARLIER : kind === 4 ? LATER : 0);
      if (kind === 3) model.delete(key);
      else model.set(key, value);
    }
    await engine.write(batch, { sync: false });
  }
  await engine.flush();
}

interface Store {
  readonly fs: MemoryFileSystem;
  readonly options: Partial<LsmOptions>;
  readonly model: Model;
  /** The table's path and its bytes. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** A store with one table deep down, and two in level 0; what is asked for is the oldest or the newest of them. */
async function storeWith(
  { entries, ...options }: Shape,
  which: "deep" | "new",
  seed: number,
): Promise<Store> {
  const fs = new MemoryFileSystem();
  const random = seededRandom(seed);
  const model: Model = new Map();
  const engine = await open(fs, options);
  await writeTable(engine, model, random, entries);
  await writeTable(engine, model, random, entries);
  await engine.compact();
  expect(engine.stats().tables).toBe(1);
  await writeTable(engine, model, random, 6);
  await writeTable(engine, model, random, 6);
  await engine.close();
  const tables = fs.list(DIRECTORY).filter((name) => name.endsWith(".table"));
  expect(tables.length).toBe(3);
  const path = `${DIRECTORY}/${which === "deep" ? tables[0] : tables.at(-1)}`;
  return { fs, options, model, path, bytes: fs.readFile(path) };
}

/** Runs `action`; whether it ended in damage that was found. Every other error is thrown. */
function findsDamage(action: () => void): boolean {
  try {
    action();
    return false;
  } catch (error) {
    if (error instanceof StorageError && error.code === "CORRUPT") return true;
    throw error;
  }
}

/** Reads everything in every way; how many of the reads found damage. Throws for a wrong answer. */
function readEverything(engine: Engine, model: Model): number {
  const keys = [...model.keys()].sort();
  let found = 0;
  const read = (action: () => void): void => {
    if (findsDamage(action)) found++;
  };
  for (const key of [...keys, "", "k", "kabsent", "kz"]) {
    read(() => {
      const value = engine.getSync(utf8(key));
      const text = value === undefined ? undefined : fromUtf8(value);
      if (text !== model.get(key)) throw new Error(`get ${key}: ${text}, expected ${model.get(key)}`);
    });
  }
  read(() => scan(engine, {}, keys, model));
  read(() => scan(engine, { reverse: true }, keys.toReversed(), model));
  for (const [index, key] of keys.entries()) {
    read(() => scan(engine, { gte: utf8(key), limit: 2 }, keys.slice(index, index + 2), model));
    const below = keys.slice(Math.max(0, index - 2), index).reverse();
    read(() => scan(engine, { lt: utf8(key), limit: 2, reverse: true }, below, model));
  }
  return found;
}

function scan(engine: Engine, range: ScanRange, keys: readonly string[], model: Model): void {
  using iterator = engine.iterate(range);
  for (const key of keys) {
    const entry = iterator.next() ? `${fromUtf8(iterator.key)}=${fromUtf8(iterator.value)}` : "the end";
    if (entry !== `${key}=${model.get(key)}`) throw new Error(`scan at ${key}: ${entry}`);
  }
  if (iterator.next()) throw new Error(`scan: ${fromUtf8(iterator.key)}, expected the end`);
}

/** Opens a store; `undefined` if that finds damage. */
async function openUndamaged(
  fs: MemoryFileSystem,
  options: Partial<LsmOptions>,
): Promise<Engine | undefined> {
  try {
    return await open(fs, options);
  } catch (error) {
    if (error instanceof StorageError && error.code === "CORRUPT") return undefined;
    throw error;
  }
}

/** Opens the store with `bytes` in place of the table and reads everything; whether damage was found. */
async function isFound({ fs, options, model, path }: Store, bytes: Uint8Array): Promise<boolean> {
  fs.writeFile(path, bytes);
  const engine = await openUndamaged(fs, options);
  if (engine === undefined) return true;
  try {
    return readEverything(engine, model) > 0;
  } finally {
    await engine.close();
  }
}

/** Lets the tables be merged; no answer is wrong after it, or the store has stopped and said why. */
async function isFoundByCompaction({ fs, options, model, path }: Store, bytes: Uint8Array): Promise<boolean> {
  const disk = fs.copy();
  disk.writeFile(path, bytes);
  const fatal: Error[] = [];
  const engine = await openUndamaged(disk, { ...options, onFatal: (error) => fatal.push(error) });
  if (engine === undefined) return true;
  await engine.compact().catch(() => {});
  await engine.close();
  if (fatal.length > 0) {
    expect(fatal[0]!.cause).toMatchObject({ name: "StorageError", code: "CORRUPT" });
    return true;
  }
  const again = await open(disk, options);
  expect(again.stats().tablesPerLevel[0]).toBe(0);
  expect(readEverything(again, model)).toBe(0);
  await again.close();
  return false;
}

/** The bytes with one bit flipped. */
function flipped(bytes: Uint8Array, at: number, bit: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 1 << bit;
  return copy;
}

async function telling<Result>(where: string, action: () => Promise<Result>): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
  }
}

/** How tables are written, and how many operations go into the deepest one, half of them each time. */
interface Shape extends Partial<LsmOptions> {
  readonly entries: number;
}

const SHAPES: readonly (Shape & { readonly name: string })[] = [
  {
    name: "an entry a block",
    entries: 6,
    blockBytes: 1,
    restartInterval: 1,
    partitionBytes: 1,
    blockCacheBytes: 0,
  },
  {
    name: "small blocks, compressed",
    entries: 12,
    blockBytes: 150,
    partitionBytes: 100,
    compression: "zstd",
  },
  { name: "one block", entries: 12, blockBytes: 4096, restartInterval: 3 },
];

/** The eight bits of a byte, or as many of them as `RUNS` says, another one each time. */
const BITS = Math.min(8, Number(process.env.RUNS ?? 1));

for (const { name, ...shape } of SHAPES) {
  for (const which of ["deep", "new"] as const) {
    test(`${name}: every flipped bit of a table is found by reads or harmless (${which})`, async () => {
      const store = await storeWith(shape, which, 7);
      expect(await isFound(store, store.bytes)).toBe(false);
      let found = 0;
      for (let at = 0; at < store.bytes.length; at++) {
        for (let i = 0; i < BITS; i++) {
          const bit = (at * 3 + i) % 8;
          const isDamage = await telling(`bit ${bit} of byte ${at}`, () =>
            isFound(store, flipped(store.bytes, at, bit)),
          );
          if (isDamage) found++;
        }
      }
      // What is harmless is at most a bit of the filter that makes it answer "perhaps".
      expect(found).toBeGreaterThan(store.bytes.length * BITS * 0.8);
    }, 3_600_000);
  }

  test(`${name}: every flipped bit of a table is found by a compaction or harmless`, async () => {
    const store = await storeWith(shape, "deep", 8);
    expect(await isFoundByCompaction(store, store.bytes)).toBe(false);
    let found = 0;
    for (let at = 0; at < store.bytes.length; at++) {
      const bytes = flipped(store.bytes, at, at % 8);
      if (await telling(`byte ${at}`, () => isFoundByCompaction(store, bytes))) found++;
    }
    expect(found).toBeGreaterThan(store.bytes.length * 0.5);
  }, 3_600_000);

  test(`${name}: a table that is shorter or longer is refused`, async () => {
    const store = await storeWith(shape, "new", 9);
    for (let length = 0; length <= store.bytes.length + 3; length++) {
      if (length === store.bytes.length) continue;
      const bytes = new Uint8Array(length);
      bytes.set(store.bytes.subarray(0, Math.min(length, store.bytes.length)));
      store.fs.writeFile(store.path, bytes);
      await expect(open(store.fs, store.options)).rejects.toMatchObject({ code: "CORRUPT" });
    }
  });
}
