import { expect, test } from "bun:test";
import { groupId, INDEX_ZERO, logIndex } from "../../protocol/ids.ts";
import { AssertionError } from "../lib/assert.ts";
import { utf8 } from "../lib/bytes.ts";
import type { SealListener } from "../storage/engine.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { metaKey } from "./engine-keys.ts";
import { SealTracker } from "./seal-tracker.ts";
import type { Shard } from "./shard.ts";

const [G0, G1] = [groupId(0), groupId(1)];

/** What the tracker looks at in a shard: how far it has applied, and what it wants kept. */
function shards(applied: { g0: number; g1: number; g2?: number }): readonly Shard[] {
  const view = (group: typeof G0, index: () => number) => ({
    group,
    get appliedIndex() {
      return logIndex(index());
    },
    get logTimeMs() {
      return index() * 1000;
    },
    metaForSeal: () => utf8(`group ${group} at ${index()}`),
  });
  const views = [view(G0, () => applied.g0), view(G1, () => applied.g1)];
  if (applied.g2 !== undefined) views.push(view(groupId(2), () => applied.g2!));
  return views as unknown as readonly Shard[];
}

test("a memtable is sealed with how far every group has come", async () => {
  const seals = new SealTracker();
  const engine = new MemoryEngine(seals);
  const applied = { g0: 3, g1: 7 };
  for (const shard of shards(applied)) seals.attach(shard);
  applied.g1 = 9;
  expect(seals.flushedIndex(G1)).toBe(logIndex(7));
  await engine.flush();
  expect(engine.getSync(metaKey(G0))).toEqual(utf8("group 0 at 3"));
  expect(engine.getSync(metaKey(G1))).toEqual(utf8("group 1 at 9"));
  expect([seals.flushedIndex(G0), seals.flushedIndex(G1)]).toEqual([logIndex(3), logIndex(9)]);
});

test("what counts is how far a group was when its memtable was sealed, not when its table was there", () => {
  const seals = new SealTracker();
  const applied = { g0: 0, g1: 1 };
  for (const shard of shards(applied)) seals.attach(shard);
  const listener: SealListener = seals;
  const batch = new MemoryEngine().newBatch();
  for (const at of [2, 3]) {
    applied.g1 = at;
    listener.beforeSeal(at, batch);
  }
  applied.g1 = 4;
  listener.flushed(2);
  expect(seals.flushedIndex(G1)).toBe(logIndex(2));
  listener.flushed(3);
  expect(seals.flushedIndex(G1)).toBe(logIndex(3));
  expect(() => listener.flushed(5)).toThrow(AssertionError);
});

test("of a group that is not known nothing is in tables", () => {
  expect(new SealTracker().flushedIndex(G1)).toBe(INDEX_ZERO);
});

test("the time that all shards have passed for good is that of the slowest one's tables", async () => {
  const seals = new SealTracker();
  const engine = new MemoryEngine(seals);
  const applied = { g0: 1, g1: 4, g2: 6 };
  expect(seals.flushedTimeMs).toBe(0);
  for (const shard of shards(applied)) seals.attach(shard);
  applied.g1 = 8;
  applied.g2 = 7;
  expect(seals.flushedTimeMs).toBe(4000);
  await engine.flush();
  expect(seals.flushedTimeMs).toBe(7000);
});

test("what was sealed of a replica that is gone says nothing of the next one", () => {
  const seals = new SealTracker();
  const [, former] = shards({ g0: 0, g1: 50 });
  const [, next] = shards({ g0: 0, g1: 2 });
  seals.attach(former!);
  const batch = new MemoryEngine().newBatch();
  const listener: SealListener = seals;
  listener.beforeSeal(1, batch);
  seals.detach(former!);
  expect(seals.flushedIndex(G1)).toBe(INDEX_ZERO);
  seals.attach(next!);
  listener.flushed(1);
  expect(seals.flushedIndex(G1)).toBe(logIndex(2));
});
