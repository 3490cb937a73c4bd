import { expect, test } from "bun:test";
import { groupId, shardOfGroup } from "../../protocol/ids.ts";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { utf8 } from "../lib/bytes.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { metaKey, spanOfShard } from "./engine-keys.ts";
import { LogStore } from "./log-store.ts";
import { ReplicaRemovals } from "./replica-removals.ts";

const G1 = groupId(1);
const G2 = groupId(2);
const GROUPS = [G1, G2];

/** A disk that is as slow as the test wants it. */
class SlowEngine extends MemoryEngine {
  readonly #waiting: (() => void)[] = [];

  override flush(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async finishFlush(): Promise<void> {
    for (const resolve of this.#waiting.splice(0)) resolve();
    await Promise.resolve();
  }
}

function setup() {
  const engine = new SlowEngine();
  const disk = new MemoryFileSystem();
  const sizes = { segmentBytes: 128 * 1024, cacheBytes: 64 * 1024 };
  const logStore = LogStore.open({ fs: disk, background: inlineBackground(disk) }, "/log", sizes);
  const fatal: Error[] = [];
  const removals = new ReplicaRemovals({ engine, logStore, fail: (error) => void fatal.push(error) });
  const batch = engine.newBatch();
  for (const group of GROUPS) {
    batch.put(spanOfShard(shardOfGroup(group))[0], utf8("v"));
    batch.put(metaKey(group), utf8("meta"));
  }
  engine.writeUnlogged(batch);
  /** Which of a group's data, and of its meta, are there. */
  const has = (group: typeof G1) =>
    [spanOfShard(shardOfGroup(group))[0], metaKey(group)].map((key) => engine.getSync(key) !== undefined);
  return { engine, logStore, removals, fatal, has };
}

test("data go after the note that they go is durable, and the note that they went comes last", async () => {
  const { engine, logStore, removals, fatal, has } = setup();
  removals.begin(G1);
  removals.flushStarted();
  // Comes too late for the flush that is under way.
  removals.begin(G2);
  expect(GROUPS.map(has)).toEqual([
    [true, true],
    [true, true],
  ]);
  removals.flushEnded();
  expect(GROUPS.map(has)).toEqual([
    [false, false],
    [true, true],
  ]);
  expect(logStore.group(G1).mustClear).toBe(true);
  expect(removals.isUnderWay(G1)).toBe(true);
  await engine.finishFlush();
  expect(GROUPS.map((group) => removals.isUnderWay(group))).toEqual([false, true]);
  expect(GROUPS.map((group) => logStore.group(group).mustClear)).toEqual([false, true]);
  removals.flushStarted();
  removals.flushEnded();
  expect(has(G2)).toEqual([false, false]);
  await engine.finishFlush();
  expect(removals.isUnderWay(G2)).toBe(false);
  expect(fatal).toEqual([]);
});

test("a start that finds the first note goes on with the data at once", async () => {
  const { engine, logStore, removals, has } = setup();
  logStore.drop(G1);
  removals.resume(G1);
  expect(removals.isUnderWay(G1)).toBe(true);
  expect(GROUPS.map(has)).toEqual([
    [false, false],
    [true, true],
  ]);
  await engine.finishFlush();
  expect([removals.isUnderWay(G1), logStore.group(G1).mustClear]).toEqual([false, false]);
});
