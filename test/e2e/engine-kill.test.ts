/**
 * A process that writes to a store is killed in the middle of it, again and again, over one directory. Whatever it was
 * doing, opening included: what it had acknowledged is there, and of everything else each writer's batches up to some
 * number, whole.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bunFileSystem } from "../../src/env/bun-fs.ts";
import { consoleLog } from "../../src/env/console-log.ts";
import { systemClock } from "../../src/env/system-clock.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import { openLsm } from "../../src/storage/lsm.ts";
import { changesOf, countKey, WRITER_OPTIONS, WRITERS } from "../support/engine-writer.ts";
import { inlineBackground } from "../support/inline-background.ts";
import { testSeed } from "../support/seed.ts";

const SEED = testSeed("engine-kill");
const WRITER = fileURLToPath(new URL("../support/engine-writer.ts", import.meta.url));
const KILLS = Number(process.env.RUNS ?? 50);
/** After how many acknowledged batches the process is killed at the latest. */
const BATCHES_MAX = 600;

const directory = mkdtempSync(join(tmpdir(), "flotilla-kill-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Starts the process and kills it after a random number of batches; the last number that each writer told. */
async function writeUntilKilled(store: string, random: Random): Promise<number[]> {
  const told = new Array<number>(WRITERS).fill(0);
  // Now and then it is killed while it is opening the store.
  let left = random.below(6) === 0 ? 1 : 1 + random.below(BATCHES_MAX);
  const child = Bun.spawn([process.execPath, WRITER, store], { stdio: ["pipe", "pipe", "pipe"] });
  let rest = "";
  for await (const chunk of child.stdout) {
    const lines = (rest + Buffer.from(chunk).toString()).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [writer, number] = line.split(" ");
      if (number !== undefined) told[Number(writer)] = Number(number);
      if (--left === 0) child.kill("SIGKILL");
    }
  }
  await child.exited;
  if (child.signalCode !== "SIGKILL")
    throw new Error(`it ended by itself: ${await new Response(child.stderr).text()}`);
  return told;
}

/** What the store holds. */
async function readStore(store: string): Promise<Map<string, string>> {
  const fs = bunFileSystem();
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: consoleLog("error") };
  const engine = await openLsm(env, store, WRITER_OPTIONS);
  const entries = new Map<string, string>();
  {
    using iterator = engine.iterate({});
    while (iterator.next()) {
      const value = fromUtf8(iterator.value);
      entries.set(fromUtf8(iterator.key), value);
      if (fromUtf8(engine.getSync(iterator.key.slice()) ?? utf8("")) !== value)
        throw new Error(`get and scan differ at ${fromUtf8(iterator.key)}`);
    }
  }
  await engine.close();
  return entries;
}

test(`a process killed ${KILLS} times in the middle of its writes loses nothing that it acknowledged`, async () => {
  const random = seededRandom(SEED);
  const store = join(directory, "store");
  const expected = new Map<string, string>();
  const counts = new Array<number>(WRITERS).fill(0);
  const beganAtMs = performance.now();
  for (let kill = 1; kill <= KILLS; kill++) {
    const told = await writeUntilKilled(store, random);
    const found = await readStore(store);
    for (let writer = 0; writer < WRITERS; writer++) {
      const count = Number(found.get(countKey(writer)) ?? 0);
      if (count < Math.max(told[writer]!, counts[writer]!))
        throw new Error(`kill ${kill}: writer ${writer} was told ${told[writer]}, the store has ${count}`);
      for (let number = counts[writer]! + 1; number <= count; number++) {
        for (const change of changesOf(writer, number)) {
          if (change.kind === "put") expected.set(change.key, change.value);
          else if (change.kind === "delete") expected.delete(change.key);
        }
      }
      counts[writer] = count;
    }
    expect([...found]).toEqual([...expected].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  const batches = counts.reduce((sum, count) => sum + count, 0);
  console.log(`${batches} batches, ${KILLS} kills, ${(performance.now() - beganAtMs).toFixed(0)} ms`);
  expect(batches).toBeGreaterThan(KILLS * 20);
}, 120_000);
