/** The engine against a sorted map: the same random operations under random options have to give the same answers. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import type { Engine, EngineIterator, ScanRange, Snapshot, WriteBatch } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";
import { MemoryEngine } from "./memory-engine.ts";

type Write = { key: Uint8Array; value: Uint8Array | undefined };

type Step =
  | { kind: "write"; writes: Write[]; logged: boolean; sync: boolean }
  | { kind: "get"; key: Uint8Array; snapshot: number }
  | { kind: "scan"; range: ScanRange; snapshot: number }
  | { kind: "snapshot" }
  | { kind: "release"; snapshot: number }
  | { kind: "openIterator"; range: ScanRange }
  | { kind: "drainIterator" }
  | { kind: "flush" }
  | { kind: "settle" }
  | { kind: "reopen" };

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
const write: fc.Arbitrary<Write> = fc.record({ key, value: fc.option(value, { nil: undefined, freq: 3 }) });
const bound = fc.option(key, { nil: undefined, freq: 1 });
const range: fc.Arbitrary<ScanRange> = fc
  .tuple(
    fc.oneof(
      fc.record({ gte: bound, lt: bound }),
      fc.record({ gt: bound, lte: bound }),
      fc.record({ prefix: key }),
      fc.constant({}),
    ),
    fc.boolean(),
    fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined, freq: 4 }),
  )
  .map(([bounds, reverse, limit]) => ({ ...bounds, reverse, ...(limit === undefined ? {} : { limit }) }));
const index = fc.nat({ max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      writes: fc.array(write, { maxLength: 12 }),
      logged: fc.boolean(),
      sync: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("get" as const), key, snapshot: index }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("scan" as const), range, snapshot: index }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "snapshot" }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("release" as const), snapshot: index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("openIterator" as const), range }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "drainIterator" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "flush" }) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: "settle" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: "reopen" }) },
);
const options: fc.Arbitrary<Partial<LsmOptions>> = fc.record({
  memtableBytes: fc.constantFrom(200, 1000, 10_000),
  blockBytes: fc.constantFrom(1, 64, 256, 4096),
  restartInterval: fc.constantFrom(1, 2, 16),
  bloomBitsPerKey: fc.constantFrom(1, 10),
  blockCacheBytes: fc.constantFrom(0, 1000, 100_000),
  tableBytes: fc.constantFrom(1, 500, 5000),
  walFileBytes: fc.constantFrom(1, 500, 100_000),
  manifestBytes: fc.constantFrom(1, 1000, 100_000),
  level0Tables: fc.constantFrom(1, 2, 4),
  level1Bytes: fc.constantFrom(1, 1000, 10_000),
  levelSizeRatio: fc.constantFrom(2, 10),
});

test("random operations under random options give the answers of a sorted map", async () => {
  const runs = Number(process.env.FLOTILLA_MODEL_RUNS ?? 500);
  await fc.assert(
    fc.asyncProperty(options, fc.array(step, { minLength: 20, maxLength: 120 }), async (chosen, steps) => {
      await new Comparison(chosen).run(steps);
    }),
    { numRuns: runs },
  );
}, 60_000);

/** The engine and its oracle, side by side. */
class Comparison {
  readonly #fs = new MemoryFileSystem();
  readonly #options: Partial<LsmOptions>;
  readonly #oracle: Engine = new MemoryEngine();
  #engine!: Engine;
  #snapshots: { actual: Snapshot; expected: Snapshot }[] = [];
  #iterators: { actual: EngineIterator; expected: EngineIterator }[] = [];

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
    await this.#open();
    for (const one of steps) await this.#step(one);
    this.#compare({}, undefined);
    this.#drainIterators();
    await this.#engine.close();
  }

  async #open(): Promise<void> {
    const env = {
      fs: this.#fs,
      background: inlineBackground(this.#fs),
      clock: systemClock(),
      log: consoleLog("error"),
    };
    this.#engine = await openLsm(env, "/store", this.#options);
  }

  async #step(one: Step): Promise<void> {
    switch (one.kind) {
      case "write": {
        const actual = fill(this.#engine.newBatch(), one.writes);
        this.#oracle.writeUnlogged(fill(this.#oracle.newBatch(), one.writes));
        if (one.logged) {
          await this.#engine.write(actual, { sync: one.sync });
        } else {
          this.#engine.writeUnlogged(actual);
          this.#engine.sealIfFull();
        }
        return;
      }
      case "get": {
        const snapshot = this.#snapshots[one.snapshot];
        const actual = this.#engine.getSync(one.key, snapshot?.actual);
        const expected = this.#oracle.getSync(one.key, snapshot?.expected);
        expect(actual === undefined ? undefined : hex(actual)).toBe(
          expected === undefined ? undefined : hex(expected),
        );
        return;
      }
      case "scan":
        this.#compare(one.range, this.#snapshots[one.snapshot]);
        return;
      case "snapshot":
        if (this.#snapshots.length < 4) {
          this.#snapshots.push({ actual: this.#engine.snapshot(), expected: this.#oracle.snapshot() });
        }
        return;
      case "release":
        for (const { actual, expected } of this.#snapshots.splice(one.snapshot, 1)) {
          actual.release();
          expected.release();
        }
        return;
      case "openIterator":
        this.#iterators.push({
          actual: this.#engine.iterate(one.range),
          expected: this.#oracle.iterate(one.range),
        });
        return;
      case "drainIterator":
        this.#drainIterators();
        return;
      case "flush":
        await this.#engine.flush();
        return;
      case "settle":
        // Background work gets some turns.
        for (let i = 0; i < 20; i++) await Promise.resolve();
        return;
      case "reopen":
        this.#drainIterators();
        this.#snapshots = [];
        await this.#engine.flush();
        await this.#engine.close();
        await this.#open();
        return;
    }
  }

  #compare(bounds: ScanRange, snapshot: { actual: Snapshot; expected: Snapshot } | undefined): void {
    const actual = drain(this.#engine.iterate({ ...bounds, snapshot: snapshot?.actual }));
    expect(actual).toEqual(drain(this.#oracle.iterate({ ...bounds, snapshot: snapshot?.expected })));
  }

  #drainIterators(): void {
    for (const { actual, expected } of this.#iterators) expect(drain(actual)).toEqual(drain(expected));
    this.#iterators = [];
  }
}

function fill(batch: WriteBatch, writes: readonly Write[]): WriteBatch {
  for (const { key: of, value: to } of writes) {
    if (to === undefined) batch.delete(of);
    else batch.put(of, to);
  }
  return batch;
}

function drain(iterator: EngineIterator): string[] {
  const entries: string[] = [];
  while (iterator.next()) entries.push(`${hex(iterator.key)}=${hex(iterator.value)}`);
  iterator.close();
  return entries;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
