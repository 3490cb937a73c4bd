import type { NodeStatus, PeerStatus, QueueStatus } from "../../protocol/messages.ts";
import type { LogStore } from "../shard/log-store.ts";
import type { RequestStats } from "../shard/request-stats.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import type { Engine } from "../storage/engine.ts";

export interface StatusSources {
  readonly self: { readonly id: NodeStatus["id"]; readonly address: string };
  readonly version: string;
  readonly clusterId: () => string;
  readonly uptimeMs: () => number;
  readonly peers: () => readonly PeerStatus[];
  readonly connections: () => number;
  readonly queues: () => readonly QueueStatus[];
  readonly host: ShardHost;
  readonly stats: RequestStats;
  readonly engine: Engine;
  readonly logStore: LogStore;
}

/** What this node knows of itself, measured now. */
export function nodeStatus(sources: StatusSources): NodeStatus {
  const { host, stats, logStore } = sources;
  const engine = sources.engine.stats();
  const cacheReads = engine.blockCacheHits + engine.blockCacheMisses;
  const memory = process.memoryUsage();
  return {
    id: sources.self.id,
    address: sources.self.address,
    version: sources.version,
    clusterId: sources.clusterId(),
    uptimeMs: sources.uptimeMs(),
    readOnly: host.readOnlyReason !== undefined,
    peers: sources.peers(),
    shards: host.shards.map((shard) => shard.status()),
    requests: {
      reads: stats.reads,
      writes: stats.writes,
      errors: stats.errors,
      connections: sources.connections(),
      redirected: stats.redirected,
      perSecond: stats.perSecond,
      readMs: stats.readMs,
      writeMs: stats.writeMs,
    },
    storage: {
      memtableBytes: engine.memtableBytes,
      tables: engine.tables,
      tableBytes: engine.tableBytes,
      cacheHitRate: cacheReads === 0 ? null : engine.blockCacheHits / cacheReads,
      logBytes: logStore.byteLength,
      compactions: engine.compactions,
      syncMs: host.diskPace.syncMs,
      slowDisk: host.diskPace.isSlow,
      slowDiskSpells: host.diskPace.spells,
    },
    memory: { residentBytes: memory.rss, heapBytes: memory.heapUsed },
    queues: sources.queues(),
  };
}
