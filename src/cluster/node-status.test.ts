import { expect, test } from "bun:test";
import { groupId, logIndex, nodeId, term } from "../../protocol/ids.ts";
import type { ShardStatus } from "../../protocol/messages.ts";
import type { LogStore } from "../shard/log-store.ts";
import { RequestStats } from "../shard/request-stats.ts";
import type { Shard } from "../shard/shard.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { nodeStatus } from "./node-status.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];

function shard(group: number, leader: typeof n1 | undefined): Shard {
  const status: ShardStatus = {
    shard: group - 1,
    role: leader === n1 ? "leader" : "follower",
    leader: leader ?? null,
    term: term(3),
    lastIndex: logIndex(9),
    commitIndex: logIndex(8),
    appliedIndex: logIndex(7),
    voters: [],
    outgoing: [],
    learners: [],
    replicas: [],
  };
  return { group: groupId(group), leader, status: () => status } as unknown as Shard;
}

const host = (readOnlyReason?: string) =>
  ({
    shards: [shard(0, n1), shard(1, n2), shard(2, undefined)],
    readOnlyReason,
    diskPace: { isSlow: true, spells: 3, syncMs: null },
  }) as unknown as ShardHost;

class CountingEngine extends MemoryEngine {
  override stats() {
    return { ...super.stats(), memtableBytes: 11, tables: 2, tableBytes: 22, ...this.cache, compactions: 5 };
  }
  cache = { blockCacheHits: 3, blockCacheMisses: 1 };
}

function sources(engine: CountingEngine, readOnlyReason?: string) {
  const stats = new RequestStats();
  stats.read(2);
  stats.write(4);
  stats.write(4);
  stats.errors = 6;
  return {
    self: { id: n1, address: "127.0.0.1:7001" },
    version: "1.2.3",
    clusterId: () => "aa",
    uptimeMs: () => 1234,
    peers: () => [],
    connections: () => 5,
    queues: () => [],
    host: host(readOnlyReason),
    stats,
    engine,
    logStore: { byteLength: 77 } as unknown as LogStore,
  };
}

test("a node's status is what its parts say", () => {
  const status = nodeStatus(sources(new CountingEngine()));
  expect(status).toMatchObject({
    id: n1,
    address: "127.0.0.1:7001",
    version: "1.2.3",
    clusterId: "aa",
    uptimeMs: 1234,
    readOnly: false,
    requests: { reads: 1, writes: 2, errors: 6, connections: 5 },
    storage: {
      memtableBytes: 11,
      tables: 2,
      tableBytes: 22,
      cacheHitRate: 0.75,
      logBytes: 77,
      compactions: 5,
      syncMs: null,
      slowDisk: true,
      slowDiskSpells: 3,
    },
  });
  expect(status.shards.map((row) => row.shard)).toEqual([-1, 0, 1]);
  expect(status.requests.writeMs?.p50).toBeCloseTo(4, 0);
  expect(status.memory.residentBytes).toBeGreaterThan(0);
});

test("a node that takes no writes says so, and a cache that was never asked has no rate", () => {
  const engine = new CountingEngine();
  engine.cache = { blockCacheHits: 0, blockCacheMisses: 0 };
  const status = nodeStatus(sources(engine, "the disk is full"));
  expect(status.readOnly).toBe(true);
  expect(status.storage.cacheHitRate).toBeNull();
});
