import type { Random } from "../../src/lib/prng.ts";
import type { NodeOptions } from "../../src/node.ts";
import type { SnapshotSizes } from "../../src/shard/snapshot-format.ts";
import { DEFAULT_TIMING_OPTIONS } from "../../src/timings.ts";
import { FAULT_KINDS, type FaultKind } from "./fault-kinds.ts";
import type { SimulationOptions } from "./options.ts";

/** What a run is like, faults aside. */
export interface Profile {
  readonly nodes: number;
  /** Nodes that may join them, where members change. */
  readonly joiners: number;
  /** On how many nodes each shard is. */
  readonly replicas: number;
  readonly shards: number;
  readonly clients: number;
  readonly keys: number;
  readonly rows: number;
  /** Longest value, in bytes. */
  readonly valueBytesMax: number;
  readonly faultsMs: number;
  /** How slow disks and the network are while nothing is wrong with them; the slower, the more is under way at any time. */
  readonly usual: { readonly syncMs: number; readonly latencyMs: number };
  /** The kinds of faults that there are. */
  readonly kinds: readonly FaultKind[];
  /** What the nodes are told of their clocks: 0 for clusters without leases, else no less than clocks drift. */
  readonly leaseDriftPercent: number;
  /** Who is away for longer is replaced; mostly nobody is. */
  readonly lostAfterMs: number;
  readonly sizes: Pick<NodeOptions, "engine" | "log" | "replication" | "snapshots"> & {
    readonly logBytesMax: number;
  };
}

/** Draws a profile; what the options say, they decide. */
export function drawProfile(random: Random, options: SimulationOptions): Profile {
  // Few keys, so that operations meet; or so many that the data reach several levels of the engine.
  const isWide = random.below(4) === 0;
  const drawn = {
    nodes: 3 + Math.max(0, random.below(5) - 2),
    joiners: 1 + random.below(2),
    replicas: 3,
    shards: 1 << random.below(3),
    clients: 3 + random.below(8),
    keys: isWide ? 60 + random.below(100) : 4 + random.below(12),
    rows: 1 + random.below(3),
    valueBytesMax: isWide ? 600 : 200,
    faultsMs: 3000 + random.below(6000),
    usual: { syncMs: 4 << random.below(5), latencyMs: 2 << random.below(4) },
    kinds: FAULT_KINDS.filter(() => random.below(2) === 0),
    leaseDriftPercent: random.below(2) === 0 ? 0 : 10 + random.below(10),
    sizes: {
      engine: {
        memtableBytes: 1024 << random.below(4),
        blockBytes: 256,
        tableBytes: 512 << random.below(3),
        level0Tables: 2,
        // Small enough for data of a few kilobytes to reach several levels.
        level1Bytes: 512 << random.below(isWide ? 2 : 5),
        levelSizeRatio: 2 + random.below(3),
        manifestBytes: 2048,
      },
      log: { segmentBytes: 2048 << random.below(4), cacheBytes: 1024 },
      // In two runs of three, who was away needs a snapshot.
      logBytesMax: random.below(3) === 0 ? 1 << 30 : 4096 << random.below(3),
      // Small appends, so that what a follower misses comes in several, and some of them late.
      replication: {
        appendBytesMax: 64 << random.below(8),
        inflightAppendsMax: 1 + random.below(16),
        inflightBytesMax: 1 << 20,
      },
      snapshots: drawSnapshotSizes(random),
    },
    lostAfterMs: random.below(2) === 0 ? DEFAULT_TIMING_OPTIONS.lostAfterMs : 2000 + random.below(2000),
  };
  return {
    ...drawn,
    nodes: options.nodes || drawn.nodes,
    clients: options.clients || drawn.clients,
    faultsMs: options.minutes * 60_000 || drawn.faultsMs,
    kinds: options.faults ?? drawn.kinds,
  };
}

/** From dozens of parts that leave one by one to a single one: a run's data are a few kilobytes. */
function drawSnapshotSizes(random: Random): SnapshotSizes {
  const partBytes = 64 << random.below(7);
  return { partBytes, windowBytes: partBytes * (1 << random.below(4)) };
}
