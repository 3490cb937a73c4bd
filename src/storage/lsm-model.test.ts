/**
 * The engine against a sorted map: the same random operations under random options have to give the same answers. `RUNS`
 * says how many lists of operations are tried; `SEED` repeats a run, and fast-check prints the one that failed.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import type {
  DurableEngine,
  Engine,
  EngineIterator,
  KeySpan,
  ScanRange,
  Snapshot,
  WriteBatch,
} from "./engine.ts";
import { parseFileName } from "./file-names.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";
import { MemoryEngine } from "./memory-engine.ts";
import { TableReader } from "./table-reader.ts";
import { verifyStore } from "./tools/verify.ts";

type Operation =
  | { kind: "put"; key: Uint8Array; value: Uint8Array; expiresAt: number }
  | { kind: "delete"; key: Uint8Array }
  | { kind: "deleteRange"; gte: Uint8Array; lt: Uint8Array };

/** A batch, and how it is written. */
type Write = { operations: Operation[]; sync: boolean; wal: boolean };

type Step =
  | { kind: "write"; writes: Write[] }
  | { kind: "writeUnlogged"; operations: Operation[]; mayEnd: boolean }
  | { kind: "get"; key: Uint8Array; snapshot: number; now: number | undefined }
  | { kind: "scan"; range: ScanRange; snapshot: number }
  | { kind: "snapshot" }
  | { kind: "release"; snapshot: number }
  | { kind: "openIterator"; range: ScanRange; snapshot: number }
  | { kind: "moveIterator"; iterator: number; entries: number }
  | { kind: "seekIterator"; iterator: number; key: Uint8Array; entries: number }
  | { kind: "advanceTime"; now: number }
  | { kind: "flush" }
  | { kind: "compact"; span: KeySpan; wait: boolean }
  | { kind: "checkpoint" }
  | { kind: "settle"; turns: number }
  | { kind: "reopen"; flush: boolean };

// Few, short, similar keys, so that they are overwritten, share prefixes, and are prefixes of each other.
const key = fc.oneof(
  fc.array(fc.constantFrom(0x61, 0x62, 0xff), { maxLength: 4 }).map((bytes) => Uint8Array.from(bytes)),
  fc.uint8Array({ maxLength: 3 }),
  fc.integer({ min: 0, max: 300 }).map((n) => Buffer.from(`key/${n}/${"x".repeat(n % 150)}`)),
);
const value = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.integer({ min: 0, max: 400 }).map((n) => new Uint8Array(n)),
);
const time = fc.integer({ min: 1, max: 30 });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("put" as const),
      key,
      value,
      expiresAt: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, time),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), key }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(key, key)
      .map(([a, b]) => (Buffer.compare(a, b) <= 0 || b.length === 0 ? [a, b] : [b, a]))
      .map(([gte, lt]) => ({ kind: "deleteRange" as const, gte: gte!, lt: lt! })),
  },
);
const operations = fc.array(operation, { maxLength: 12 });
const bound = fc.option(key, { nil: undefined, freq: 1 });
const range: fc.Arbitrary<ScanRange> = fc
  .tuple(
    fc.oneof(
      fc.record({ gte: bound, lt: bound }),
      fc.record({ gt: bound, lte: bound }),
      fc.record({ prefix: key }),
      fc.constant({}),
    ),
    fc.record({
      reverse: fc.boolean(),
      keysOnly: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
      now: fc.option(time, { nil: undefined, freq: 1 }),
    }),
    fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined, freq: 4 }),
  )
  .map(([bounds, how, limit]) => ({ ...bounds, ...how, ...(limit === undefined ? {} : { limit }) }));
const index = fc.nat({ max: 3 });
const kind = <Kind extends string>(of: Kind): fc.Arbitrary<Kind> => fc.constant(of);
const write = fc.record({ operations, sync: fc.boolean(), wal: fc.boolean() });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: kind("write"),
      writes: fc.oneof(
        { weight: 2, arbitrary: write.map((one) => [one]) },
        fc.array(write, { minLength: 1, maxLength: 4 }),
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: kind("writeUnlogged"), operations, mayEnd: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: kind("get"),
      key,
      snapshot: index,
      now: fc.option(time, { nil: undefined, freq: 1 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: kind("scan"), range, snapshot: index }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("snapshot") }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("release"), snapshot: index }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("openIterator"), range, snapshot: index }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind("moveIterator"),
      iterator: index,
      entries: fc.integer({ min: 0, max: 20 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind("seekIterator"),
      iterator: index,
      key,
      entries: fc.integer({ min: 0, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind("advanceTime"), now: time }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("flush") }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: kind("compact"),
      span: fc.oneof(fc.constant({}), fc.record({ gte: bound, lt: bound })),
      wait: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind("checkpoint") }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("settle"), turns: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("reopen"), flush: fc.boolean() }) },
);
const options: fc.Arbitrary<Partial<LsmOptions>> = fc.record({
  memtableBytes: fc.constantFrom(200, 1000, 10_000),
  blockBytes: fc.constantFrom(1, 64, 256, 4096),
  restartInterval: fc.constantFrom(1, 2, 16),
  partitionBytes: fc.constantFrom(1, 100, 4096),
  bloomBitsPerKey: fc.constantFrom(1, 10),
  blockCacheBytes: fc.constantFrom(0, 1000, 100_000),
  openTables: fc.constantFrom(1, 2, 100),
  compression: fc.constantFrom("none" as const, "zstd" as const, ["none", "zstd"] as const),
  tableBytes: fc.constantFrom(1, 500, 5000),
  walFileBytes: fc.constantFrom(1, 500, 100_000),
  walSpareFiles: fc.constantFrom(0, 2),
  manifestBytes: fc.constantFrom(1, 1000, 100_000),
  level0Tables: fc.constantFrom(1, 2, 4),
  level1Bytes: fc.constantFrom(1, 1000, 10_000),
  levelSizeRatio: fc.constantFrom(1.1, 2, 10),
  garbageShare: fc.constantFrom(0.01, 0.25, 0.9),
});

test("random operations under random options give the answers of a sorted map", async () => {
  await fc.assert(
    fc.asyncProperty(options, fc.array(step, { minLength: 30, maxLength: 150 }), async (chosen, steps) => {
      await new Comparison(chosen).run(steps);
    }),
    { numRuns: Number(process.env.RUNS ?? 150), seed: testSeed("lsm-model") },
  );
}, 3_600_000);

/** The same thing twice: the engine's and the oracle's. */
interface Pair<Thing> {
  readonly actual: Thing;
  readonly expected: Thing;
}

/** The engine and its oracle, side by side. */
class Comparison {
  readonly #fs = new MemoryFileSystem();
  readonly #options: Partial<LsmOptions>;
  readonly #oracle: Engine = new MemoryEngine();
  #engine!: DurableEngine;
  #snapshots: Pair<Snapshot>[] = [];
  #iterators: Pair<EngineIterator>[] = [];
  /** Compactions that nobody has waited for yet. */
  #compacting: Promise<void>[] = [];
  #now = 0;
  #checkpoints = 0;
  /** Something would be lost if the store were closed now. */
  #unlogged = false;

  constructor(chosen: Partial<LsmOptions>) {
    this.#options = {
      ...chosen,
      // Writers are never made to wait here: that depends on when compactions run.
      level0TablesSlow: 1000,
      level0TablesStop: 1000,
      sealedMemtablesSlow: 1000,
      sealedMemtablesStop: 1000,
      onFatal: (error) => {
        throw error;
      },
    };
  }

  async run(steps: readonly Step[]): Promise<void> {
    this.#engine = await this.#open("/store");
    for (const one of steps) await this.#step(one);
    this.#compare({}, undefined);
    await this.#letGo();
    await this.#engine.compact();
    await this.#engine.close();
    this.#checkFiles();
    expect(this.#fs.list("/store").filter((name) => name.endsWith(".tmp"))).toEqual([]);
  }

  /** Of a store that was compacted and that nobody reads any more: what can be seen is there once, and nothing else. */
  #checkFiles(): void {
    expect(verifyStore(this.#fs, "/store", { begin() {}, advance() {} }).problems).toEqual([]);
    let [entries, rangeTombstones] = [0, 0];
    for (const name of this.#fs.list("/store")) {
      const file = parseFileName(name);
      if (file?.kind !== "table") continue;
      const reader = TableReader.open(this.#fs, `/store/${name}`, file.number);
      entries += reader.properties.entries;
      rangeTombstones += reader.properties.rangeTombstones;
      reader.close();
    }
    expect([entries, rangeTombstones]).toEqual([drain(this.#oracle.iterate({})).length, 0]);
  }

  async #open(directory: string): Promise<DurableEngine> {
    const env = {
      fs: this.#fs,
      background: inlineBackground(this.#fs),
      clock: systemClock(),
      log: consoleLog("error"),
    };
    const engine = await openLsm(env, directory, this.#options);
    // A store does not remember what time it is.
    engine.advanceTime(this.#now);
    return engine;
  }

  async #step(one: Step): Promise<void> {
    switch (one.kind) {
      case "write":
        await this.#write(one.writes);
        return;
      case "writeUnlogged":
        this.#oracle.writeUnlogged(fill(this.#oracle.newBatch(), one.operations));
        this.#engine.writeUnlogged(fill(this.#engine.newBatch(), one.operations));
        if (one.mayEnd) this.#engine.sealIfFull();
        this.#unlogged = true;
        return;
      case "get": {
        const snapshot = this.#snapshots[one.snapshot];
        const actual = this.#engine.getSync(one.key, snapshot?.actual, one.now);
        const expected = this.#oracle.getSync(one.key, snapshot?.expected, one.now);
        expect(actual && hex(actual)).toBe(expected && hex(expected));
        return;
      }
      case "scan":
        this.#compare(one.range, this.#snapshots[one.snapshot]);
        return;
      case "snapshot":
        if (this.#snapshots.length === 4) return;
        this.#snapshots.push({ actual: this.#engine.snapshot(), expected: this.#oracle.snapshot() });
        return;
      case "release":
        for (const { actual, expected } of this.#snapshots.splice(one.snapshot, 1)) {
          actual.release();
          expected.release();
        }
        return;
      case "openIterator":
        this.#iterators.push(this.#iterate(one.range, this.#snapshots[one.snapshot]));
        return;
      case "moveIterator": {
        const pair = this.#iterators[one.iterator];
        if (pair !== undefined) this.#move(pair, one.entries);
        return;
      }
      case "seekIterator": {
        const pair = this.#iterators[one.iterator];
        if (pair !== undefined) this.#seek(pair, one.key, one.entries);
        return;
      }
      case "advanceTime":
        this.#now = Math.max(this.#now, one.now);
        this.#engine.advanceTime(one.now);
        this.#oracle.advanceTime(one.now);
        return;
      case "flush":
        await this.#engine.flush();
        this.#unlogged = false;
        return;
      case "compact": {
        const compacted = this.#engine.compact(one.span);
        this.#compacting.push(compacted);
        if (one.wait) await this.#compacted();
        return;
      }
      case "checkpoint":
        await this.#checkpoint();
        return;
      case "settle":
        // Background work gets some turns.
        for (let i = 0; i < one.turns; i++) await Promise.resolve();
        return;
      case "reopen":
        await this.#letGo();
        if (one.flush || this.#unlogged) await this.#engine.flush();
        this.#unlogged = false;
        await this.#engine.close();
        this.#engine = await this.#open("/store");
        return;
    }
  }

  /** All are begun in one turn, and take effect in their order. */
  async #write(writes: readonly Write[]): Promise<void> {
    const done = writes.map(({ operations: of, sync, wal }) => {
      this.#oracle.writeUnlogged(fill(this.#oracle.newBatch(), of));
      if (!wal) this.#unlogged = true;
      return this.#engine.write(fill(this.#engine.newBatch(), of), { sync, wal });
    });
    await Promise.all(done);
  }

  /** A checkpoint is a store of its own; what is written to the one does not appear in the other. */
  async #checkpoint(): Promise<void> {
    const directory = `/checkpoint-${++this.#checkpoints}`;
    await this.#engine.checkpoint(directory);
    this.#unlogged = false;
    const other = await this.#open(directory);
    expect(drain(other.iterate({}))).toEqual(drain(this.#oracle.iterate({})));
    const batch = other.newBatch();
    batch.deleteRange(new Uint8Array(0), Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff));
    await other.write(batch);
    await other.compact();
    expect(drain(other.iterate({}))).toEqual([]);
    await other.close();
  }

  #iterate(bounds: ScanRange, snapshot: Pair<Snapshot> | undefined): Pair<EngineIterator> {
    return {
      actual: this.#engine.iterate({ ...bounds, snapshot: snapshot?.actual }),
      expected: this.#oracle.iterate({ ...bounds, snapshot: snapshot?.expected }),
    };
  }

  #compare(bounds: ScanRange, snapshot: Pair<Snapshot> | undefined): void {
    const { actual, expected } = this.#iterate(bounds, snapshot);
    expect(drain(actual)).toEqual(drain(expected));
  }

  #move({ actual, expected }: Pair<EngineIterator>, entries: number): void {
    for (let i = 0; i < entries; i++) {
      const more = expected.next();
      expect(actual.next()).toBe(more);
      if (!more) return;
      expect(text(actual)).toBe(text(expected));
    }
  }

  #seek(pair: Pair<EngineIterator>, to: Uint8Array, entries: number): void {
    const isRefused = (seek: () => void): boolean => {
      try {
        seek();
        return false;
      } catch (error) {
        expect((error as Error).message).toContain("closed");
        return true;
      }
    };
    const { actual, expected } = pair;
    const closed = isRefused(() => expected.seek(to));
    expect(isRefused(() => actual.seek(to))).toBe(closed);
    this.#move(pair, entries);
  }

  async #compacted(): Promise<void> {
    await Promise.all(this.#compacting.splice(0));
    this.#unlogged = false;
  }

  /** Everything that reads the store, or works on it, comes to its end. */
  async #letGo(): Promise<void> {
    for (const { actual, expected } of this.#iterators) expect(drain(actual)).toEqual(drain(expected));
    this.#iterators = [];
    for (const { actual } of this.#snapshots) actual.release();
    this.#snapshots = [];
    const unlogged = this.#unlogged;
    await this.#compacted();
    this.#unlogged = unlogged;
  }
}

function fill(batch: WriteBatch, all: readonly Operation[]): WriteBatch {
  for (const one of all) {
    if (one.kind === "put") batch.put(one.key, one.value, one.expiresAt);
    else if (one.kind === "delete") batch.delete(one.key);
    else batch.deleteRange(one.gte, one.lt);
  }
  return batch;
}

function drain(iterator: EngineIterator): string[] {
  const entries: string[] = [];
  while (iterator.next()) entries.push(text(iterator));
  iterator.close();
  return entries;
}

/** An entry, read both ways. */
function text(iterator: EngineIterator): string {
  const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = iterator;
  const places = `${hex(keyBytes.subarray(keyStart, keyEnd))}=${hex(valueBytes.subarray(valueStart, valueEnd))}`;
  expect(`${hex(iterator.key)}=${hex(iterator.value)}`).toBe(places);
  return `${places} until ${iterator.expiresAt}`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
