import { expect, test } from "bun:test";
import { keyspaceId, nodeId, type ShardId, shardId } from "../../protocol/ids.ts";
import type { ClientResponse, Scan } from "../../protocol/messages.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { EngineKeys } from "./engine-keys.ts";
import { ReadingSnapshots } from "./reading-snapshots.ts";

const SHARD = shardId(2);
const OTHER = shardId(3);

function parts(max = 10, seed = 1) {
  const engine = new MemoryEngine();
  const keys = new EngineKeys();
  const clock = new VirtualClock();
  const self = { node: nodeId("n1"), address: "127.0.0.1:7001" };
  const random = seededRandom(seed);
  const snapshots = new ReadingSnapshots({ engine, keys, clock, random, self, max });
  const put = (shard: ShardId, key: string, value: string, expiresAt = 0) => {
    const batch = engine.newBatch();
    batch.put(keys.of(shard, undefined, utf8(key)), utf8(value), expiresAt);
    engine.writeUnlogged(batch);
  };
  const open = (shard = SHARD, leaseMs = 1000, logMs = 0): number => {
    const response = snapshots.open(shard, undefined, leaseMs, logMs);
    return response.kind === "snapshot" ? response.snapshot : -1;
  };
  const scan = (snapshot: number, asked: Partial<Scan> = {}) =>
    contents(
      snapshots.scan({
        ...{ kind: "scan", start: utf8(""), end: undefined, limit: 100, keysOnly: false },
        ...{ consistency: "linearizable", shard: SHARD, snapshot },
        ...asked,
      }),
    );
  return { engine, keys, clock, snapshots, put, open, scan };
}

function contents(response: ClientResponse): string {
  if (response.kind !== "entries") return response.kind === "error" ? response.error : response.kind;
  const entries = response.entries.map(({ key, value }) => `${fromUtf8(key)}=${fromUtf8(value)}`);
  return entries.join(" ") + (response.more ? " ..." : "");
}

test("a snapshot stays what it was, in pages and ranges, whatever is written later", () => {
  const { put, open, scan } = parts();
  for (const key of ["a", "b", "c"]) put(SHARD, key, "1");
  put(OTHER, "x", "1");
  const snapshot = open();
  put(SHARD, "b", "2");
  put(SHARD, "d", "2");
  expect(scan(snapshot)).toBe("a=1 b=1 c=1");
  expect(scan(snapshot, { limit: 2 })).toBe("a=1 b=1 ...");
  expect(scan(snapshot, { start: utf8("b"), end: utf8("c") })).toBe("b=1");
  expect(scan(snapshot, { keysOnly: true })).toBe("a= b= c=");
  expect(scan(open())).toBe("a=1 b=2 c=1 d=2");
});

test("what had expired when it was made is not in it, and what expires later is", () => {
  const { put, open, scan } = parts();
  put(SHARD, "early", "1", 50);
  put(SHARD, "late", "1", 150);
  expect(scan(open(SHARD, 1000, 100))).toBe("late=1");
});

test("it reads the half of the shard's space that was in use when it was made", () => {
  const { put, open, scan, keys } = parts();
  put(SHARD, "a", "1");
  const snapshot = open();
  keys.use(SHARD, 1);
  put(SHARD, "b", "2");
  expect(scan(snapshot)).toBe("a=1");
  expect(scan(open())).toBe("b=2");
});

test("its lease is renewed by each use, and ends it when nobody comes back", () => {
  const { put, open, scan, snapshots, clock } = parts();
  put(SHARD, "a", "1");
  const [used, forgotten] = [open(), open()];
  for (let i = 0; i < 5; i++) {
    clock.advance(900);
    expect(scan(used)).toBe("a=1");
  }
  expect(scan(forgotten)).toBe("SNAPSHOT_GONE");
  expect(snapshots.count).toBe(1);
  clock.advance(2000);
  expect(snapshots.count).toBe(0);
  expect(scan(used)).toBe("SNAPSHOT_GONE");
});

test("it is found by its own number, shard and keyspace only, and not after it was closed", () => {
  const { put, open, scan, snapshots } = parts();
  put(SHARD, "a", "1");
  const snapshot = open();
  expect(scan(snapshot + 1)).toBe("SNAPSHOT_GONE");
  expect(scan(snapshot, { shard: OTHER })).toBe("SNAPSHOT_GONE");
  expect(scan(snapshot, { keyspace: keyspaceId(1) })).toBe("SNAPSHOT_GONE");
  expect(snapshots.close(snapshot)).toBe(true);
  expect(snapshots.close(snapshot)).toBe(false);
  expect(scan(snapshot)).toBe("SNAPSHOT_GONE");
  // Another life of the node gives other numbers out.
  expect(parts(10, 2).open()).not.toBe(parts(10, 3).open());
});

test("there are only so many, and all are let go of when the node stops", () => {
  const { snapshots, open } = parts(2);
  expect([open(), open()].every((id) => id >= 0)).toBe(true);
  expect(snapshots.open(SHARD, undefined, 1000, 0)).toMatchObject({ error: "OVERLOADED" });
  snapshots.closeAll();
  expect(snapshots.count).toBe(0);
  expect(open()).toBeGreaterThan(0);
});
