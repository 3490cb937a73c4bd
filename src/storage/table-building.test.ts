import { expect, test } from "bun:test";
import fc from "fast-check";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { compareBytes, fromUtf8, utf8 } from "../lib/bytes.ts";
import { BlockCache } from "./block-cache.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { disjoint, type KeyRange, overlap } from "./key-range.ts";
import { Levels } from "./levels.ts";
import { metaOf, type TableMeta } from "./manifest.ts";
import { Memtable } from "./memtable.ts";
import { MergeCursor } from "./merge-cursor.ts";
import { RangeCover } from "./range-cover.ts";
import { boundsOf, RangeIterator } from "./range-iterator.ts";
import { compactTables, flushMemtable } from "./table-building.ts";
import { TableCache } from "./table-cache.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

/** An operation; its sequence number is its place in the list, from 1 on. Values are the sequence number. */
type Operation =
  | { kind: "put"; key: string; expiresAt?: number }
  | { kind: "delete"; key: string }
  | { kind: "deleteRange"; gte: string; lt: string };

const put = (key: string, expiresAt = 0): Operation => ({ kind: "put", key, expiresAt });
const del = (key: string): Operation => ({ kind: "delete", key });
const delRange = (gte: string, lt: string): Operation => ({ kind: "deleteRange", gte, lt });

const TABLE = {
  blockBytes: 32,
  restartInterval: 2,
  bloomBitsPerKey: 10,
  partitionBytes: 200,
  compression: "none",
} as const;

/** What the operations up to `sequence` leave for who reads at the time `now`: `key=value`, sorted. */
function expected(operations: readonly Operation[], sequence: number, now: number): string[] {
  const map = new Map<string, { value: number; expiresAt: number }>();
  for (const [i, operation] of operations.slice(0, sequence).entries()) {
    if (operation.kind === "put") {
      map.set(operation.key, { value: i + 1, expiresAt: operation.expiresAt ?? 0 });
    } else if (operation.kind === "delete") {
      map.delete(operation.key);
    } else {
      for (const key of [...map.keys()]) if (key >= operation.gte && key < operation.lt) map.delete(key);
    }
  }
  return [...map]
    .filter(([, { expiresAt }]) => expiresAt === 0 || expiresAt > now)
    .map(([key, { value }]) => `${key}=${value}`)
    .sort();
}

/** Tables in files of their own file system, made by the background jobs. */
class Workshop {
  readonly fs = new MemoryFileSystem();
  snapshots: number[] = [];
  now = 0;
  #number = 0;
  #sequence = 0;

  /** Flushes operations, which come after all before them, into a table of level 0. */
  async flush(operations: readonly Operation[]): Promise<TableMeta> {
    const memtable = new Memtable(1000);
    const batch = new EncodedBatch();
    for (const [i, operation] of operations.entries()) {
      const { kind } = operation;
      if (kind === "put")
        batch.put(utf8(operation.key), utf8(String(this.#sequence + i + 1)), operation.expiresAt);
      else if (kind === "delete") batch.delete(utf8(operation.key));
      else batch.deleteRange(utf8(operation.gte), utf8(operation.lt));
    }
    memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, batch.count, this.#sequence + 1);
    this.#sequence += operations.length;
    const argument = {
      directory: "/d",
      fileNumber: ++this.#number,
      memtable: structuredClone(memtable.share()),
      snapshots: this.snapshots,
      now: this.now,
      table: TABLE,
    };
    return metaOf(await flushMemtable(this.fs, argument, async () => {}), 0);
  }

  async compact(
    inputs: readonly TableMeta[],
    deeper: readonly TableMeta[],
    tableBytes: number,
  ): Promise<TableMeta[]> {
    const written = await compactTables(
      this.fs,
      {
        directory: "/d",
        inputs: inputs.map(({ number }) => [number]),
        deleting: inputs.filter(({ rangeTombstones }) => rangeTombstones > 0).map(({ number }) => number),
        sharedBytes: 0,
        deeper: disjoint(deeper),
        below: [],
        belowBytesMax: 1 << 20,
        snapshots: this.snapshots,
        now: this.now,
        outputs: Array.from({ length: 100 }, () => ++this.#number),
        tableBytes,
        table: TABLE,
        stop: new Int32Array(new SharedArrayBuffer(4)),
      },
      async () => {},
    );
    return written.map((table) => metaOf(table, 1));
  }

  /** Reads all keys at `sequence`, in order, in reverse, and one by one; all three have to agree. */
  read(tables: readonly TableMeta[], sequence: number, now: number): string[] {
    const levels = new Levels(new TableCache(this.fs, "/d", new BlockCache(1000), 2), tables);
    const scan = (reverse: boolean): string[] => {
      const { cursors, release } = levels.cursors();
      const cursor = new MergeCursor(cursors);
      const rangeDeletes = new RangeCover(cursor, levels.rangeDeletes, sequence, reverse);
      const view = { sequence, now, rangeDeletes };
      const range = { reverse };
      using iterator = new RangeIterator(cursor, range, boundsOf(range), view, release);
      const found: string[] = [];
      while (iterator.next()) found.push(`${fromUtf8(iterator.key)}=${fromUtf8(iterator.value)}`);
      return found;
    };
    const forward = scan(false);
    expect(scan(true).reverse()).toEqual(forward);
    const one = ALL_KEYS.flatMap((key) => {
      const value = levels.get(utf8(key), sequence, now);
      return value === undefined ? [] : [`${key}=${fromUtf8(value)}`];
    });
    expect(one).toEqual(forward);
    levels.close();
    return forward;
  }
}

const LETTERS = [..."abcdefgh"];
const ALL_KEYS = LETTERS.flatMap((a) => [a, ...LETTERS.filter((b) => b <= a).map((b) => a + b)]).sort();

function ends(table: KeyRange): string {
  return `${fromUtf8(table.smallestKey)}..${fromUtf8(table.largestKey)}${table.largestKeyIncluded ? "]" : ")"}`;
}

const key = fc.constantFrom(...ALL_KEYS.filter((_, i) => i % 4 === 0));
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(key, fc.constantFrom(0, 0, 5, 9)).map(([of, at]) => put(of, at)) },
  { weight: 2, arbitrary: key.map(del) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(key, key)
      .filter(([a, b]) => a < b)
      .map(([a, b]) => delRange(a, b)),
  },
);

test("nobody notices a flush or a merge: not at any snapshot, not at any time", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(operation, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat({ max: 40 }), { maxLength: 3 }),
      fc.constantFrom(0, 5, 9),
      fc.constantFrom(1, 60, 10_000),
      fc.boolean(),
      async (parts, chosen, now, tableBytes, keepBottom) => {
        const operations = parts.flat();
        const workshop = new Workshop();
        workshop.snapshots = [...new Set(chosen)].sort((a, b) => a - b);
        const check = (tables: readonly TableMeta[]): void => {
          for (const sequence of [...workshop.snapshots, SEQUENCE_MAX]) {
            for (const at of [now, 100])
              expect(workshop.read(tables, sequence, at)).toEqual(expected(operations, sequence, at));
          }
        };
        const tables: TableMeta[] = [];
        for (const part of parts) tables.push(await workshop.flush(part));
        workshop.now = now;
        check(tables);
        // The oldest table may stay below, in the level after the output's.
        const bottom = keepBottom ? [{ ...tables[0]!, level: 2 }] : [];
        const inputs = keepBottom ? tables.slice(1) : tables;
        if (inputs.length === 0) return;
        const merged = await workshop.compact(inputs, bottom, tableBytes);
        for (const [i, table] of merged.entries()) {
          for (const other of merged.slice(i + 1)) expect(overlap(table, other)).toBe(false);
        }
        check([...merged, ...bottom]);
        // Once more: what was cut is merged with what is below.
        check(await workshop.compact([...merged, ...bottom], [], tableBytes));
      },
    ),
    { numRuns: Number(process.env.RUNS ?? 100) },
  );
}, 120_000);

test("a range tombstone is cut where a table ends, and its parts do not overlap", async () => {
  const workshop = new Workshop();
  const bottom = await workshop.flush([put("aa"), put("cc"), put("ee")]);
  const top = await workshop.flush([delRange("a", "f"), put("b"), put("d")]);
  const merged = await workshop.compact([top], [bottom], 1);
  expect(merged.map(ends)).toEqual(["a..d)", "d..f)"]);
  expect(merged.map(({ rangeTombstones }) => rangeTombstones)).toEqual([1, 1]);
  // A key on a cut is in one table only, and the point below it is hidden on either side.
  const tables = [...merged, { ...bottom, level: 2 }];
  expect(workshop.read(tables, SEQUENCE_MAX, 0)).toEqual(["b=5", "d=6"]);
  // A part that is merged alone says nothing of its neighbour's keys.
  const alone = await workshop.compact([merged[0]!], [bottom], 1000);
  expect(alone.map(ends)).toEqual(["a..d)"]);
});

test("all versions of a key stay in one table, also where a table is full after each entry", async () => {
  const workshop = new Workshop();
  workshop.snapshots = [1, 2, 3, 4];
  const table = await workshop.flush([put("a"), put("a"), put("b"), put("a"), delRange("a", "c"), put("b")]);
  const merged = await workshop.compact([table], [{ ...table, number: 99 }], 1);
  expect(merged.map(ends)).toEqual(["a..b)", "b..c)"]);
  expect(merged.map(({ entries }) => entries)).toEqual([3, 2]);
});

test("what a range tombstone hides goes, unless a snapshot lies between the two", async () => {
  const workshop = new Workshop();
  const point = await workshop.flush([put("b"), put("h")]);
  const range = await workshop.flush([delRange("a", "c")]);
  workshop.snapshots = [2];
  const [both] = await workshop.compact([range, point], [], 1000);
  expect([both!.entries, both!.rangeTombstones]).toEqual([2, 1]);
  expect(workshop.read([both!], 2, 0)).toEqual(["b=1", "h=2"]);
  expect(workshop.read([both!], SEQUENCE_MAX, 0)).toEqual(["h=2"]);
  workshop.snapshots = [];
  const [one] = await workshop.compact([both!], [], 1000);
  expect([one!.entries, one!.rangeTombstones]).toEqual([1, 0]);
});

test("a range tombstone stays as long as there may be something below it, and only there", async () => {
  const workshop = new Workshop();
  const bottom = await workshop.flush([put("m")]);
  const top = await workshop.flush([delRange("a", "c"), delRange("l", "z"), put("b"), put("m")]);
  const [merged] = await workshop.compact([top], [bottom], 1000);
  expect([merged!.entries, merged!.rangeTombstones, ends(merged!)]).toEqual([2, 1, "b..z)"]);
  expect(await workshop.compact([await workshop.flush([delRange("a", "z")])], [], 1000)).toEqual([]);
});

test("the end of a range is outside of it, for what is dropped as for what is kept", async () => {
  const workshop = new Workshop();
  const bottom = await workshop.flush([put("c")]);
  const top = await workshop.flush([delRange("a", "c")]);
  // The table below begins where the range ends: there is nothing to hide.
  expect(await workshop.compact([top], [bottom], 1000)).toEqual([]);
  const [merged] = await workshop.compact([top, bottom], [], 1000);
  expect(workshop.read([merged!], SEQUENCE_MAX, 0)).toEqual(["c=1"]);
});

test("a newer put is not hidden by an older range tombstone that it is merged with", async () => {
  const workshop = new Workshop();
  const range = await workshop.flush([delRange("a", "z")]);
  const newer = await workshop.flush([put("e")]);
  const [merged] = await workshop.compact([newer, range], [range], 1000);
  expect(workshop.read([merged!], SEQUENCE_MAX, 0)).toEqual(["e=2"]);
});

test("what has expired goes on hiding what it overwrote, and goes at the bottom", async () => {
  const workshop = new Workshop();
  const old = await workshop.flush([put("c"), put("d")]);
  const expiring = await workshop.flush([put("c", 10)]);
  expect([expiring.expiring, expiring.latestExpiry]).toEqual([1, 10]);
  workshop.now = 10;
  const [gone] = await workshop.compact([expiring], [old], 1000);
  expect([gone!.tombstones, gone!.expiring]).toEqual([1, 0]);
  expect(workshop.read([gone!, { ...old, level: 2 }], SEQUENCE_MAX, 10)).toEqual(["d=2"]);
  const [bottom] = await workshop.compact([gone!, old], [], 1000);
  expect([bottom!.entries, bottom!.tombstones]).toEqual([1, 0]);
  expect(compareBytes(bottom!.smallestKey, utf8("d"))).toBe(0);
});
