import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import type { Log } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import type { DurableEngine, WriteBatch } from "./engine.ts";
import type { KeyTrace } from "./key-trace.ts";
import { openLsm } from "./lsm.ts";

const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function open(): Promise<DurableEngine> {
  const fs = new MemoryFileSystem();
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: SILENT };
  const quiet = { level0Tables: 100, level0TablesSlow: 100, level0TablesStop: 200, walFileBytes: 100_000 };
  return openLsm(env, "/d", quiet);
}

function write(engine: DurableEngine, fill: (batch: WriteBatch) => void): Promise<void> {
  const batch = engine.newBatch();
  fill(batch);
  return engine.write(batch);
}

/** The steps as words: `memtable: nothing, 0: filtered`. */
const words = ({ steps }: KeyTrace): string =>
  steps.map(({ place, level, verdict }) => `${level ?? place}: ${verdict}`).join(", ");

test("a trace tells the places in order, up to the one that settles it", async () => {
  const engine = await open();
  const key = utf8("k");
  expect(engine.trace(key)).toEqual({
    steps: [{ place: "memtable", verdict: "nothing" }],
    valueBytes: undefined,
    expiresAt: 0,
  });
  await write(engine, (batch) => batch.put(key, utf8("value"), 5000));
  expect(engine.trace(key)).toEqual({
    steps: [{ place: "memtable", verdict: "value" }],
    valueBytes: 5,
    expiresAt: 5000,
  });
  expect(words(engine.trace(key, 5000))).toBe("memtable: expired");
  await engine.compact();
  // Two tables that have smaller and larger keys, but not this one.
  for (const round of [1, 2]) {
    await write(engine, (batch) => {
      for (let i = 0; i < 20; i++) batch.put(utf8(`${i % 2 ? "a" : "z"}${round}${i}`), utf8("x"));
    });
    await engine.flush();
  }
  const trace = engine.trace(key);
  expect(words(trace)).toMatch(/^memtable: nothing, 0: filtered, 0: filtered, [1-6]: value$/);
  expect(trace.valueBytes).toBe(5);
  const tables = trace.steps.map(({ table }) => table).slice(1);
  expect(new Set(tables).size).toBe(3);
  await write(engine, (batch) => batch.delete(key));
  expect(words(engine.trace(key))).toBe("memtable: deleted");
  await engine.flush();
  expect(words(engine.trace(key))).toBe("memtable: nothing, 0: deleted");
  await write(engine, (batch) => batch.deleteRange(utf8("j"), utf8("l")));
  expect(words(engine.trace(key))).toBe("memtable: range deleted");
  await engine.flush();
  expect(words(engine.trace(key))).toBe("memtable: nothing, 0: range deleted");
  await engine.close();
});

test("a trace finds what a get finds, wherever that is", async () => {
  const random = seededRandom(testSeed("key trace"));
  const engine = await open();
  for (let step = 0; step < 400; step++) {
    const key = utf8(`k${random.below(40)}`);
    const dice = random.below(20);
    if (dice === 0) await engine.flush();
    else if (dice === 1) await engine.compact();
    else if (dice === 2) await write(engine, (batch) => batch.deleteRange(key, utf8("k39")));
    else if (dice < 7) await write(engine, (batch) => batch.delete(key));
    else
      await write(engine, (batch) => batch.put(key, new Uint8Array(random.below(9)), random.below(3) * 50));
    for (const now of [0, 50]) {
      for (let i = 0; i < 40; i++) {
        const asked = utf8(`k${i}`);
        const trace = engine.trace(asked, now);
        expect([step, i, trace.valueBytes]).toEqual([step, i, engine.getSync(asked, undefined, now)?.length]);
      }
    }
  }
  await engine.close();
});
