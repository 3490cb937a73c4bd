import type { Random } from "../../src/lib/prng.ts";
import type { NodeOptions } from "../../src/node.ts";
import { DEFAULT_SNAPSHOT_SIZES, type SnapshotSizes } from "../../src/shard/snapshot-format.ts";
import { DEFAULT_TIMING_OPTIONS } from "../../src/timings.ts";
import type { Course } from "./courses.ts";
import { FAULT_KINDS, type FaultKind } from "./fault-kinds.ts";
import type { SimulationOptions } from "./options.ts";

/** What a run is like, faults aside. */
export interface Profile {
  readonly course: Course;
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
  readonly sizes: Pick<NodeOptions, "engine" | "log" | "replication" | "snapshots" | "waiting"> & {
    readonly logBytesMax: number;
  };
}

/** Draws a profile; what the options say, they decide. `courseRandom`: of its own, so that runs of no course are what they were. */
export function drawProfile(random: Random, courseRandom: Random, options: SimulationOptions): Profile {
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
      // Enough for the clients, and not for a flood.
      waiting: { requestsMax: 16 << random.below(6), forwardedBytesMax: 16_384 << random.below(4) },
    },
    lostAfterMs: random.below(2) === 0 ? DEFAULT_TIMING_OPTIONS.lostAfterMs : 2000 + random.below(2000),
  };
  const drawnCourse = drawCourse(courseRandom, options.faults ?? drawn.kinds, options.nodes);
  const course = options.course ?? drawnCourse;
  const needed = NEEDED_BY[course].filter((kind) => !drawn.kinds.includes(kind));
  const kinds = options.faults ?? [...drawn.kinds, ...needed];
  const changed = {
    ...drawn,
    course,
    kinds,
    ...OF_COURSE[course](courseRandom, { ...drawn, course, kinds }),
  };
  return {
    ...changed,
    nodes: options.nodes || changed.nodes,
    clients: options.clients || drawn.clients,
    faultsMs: options.minutes * 60_000 || changed.faultsMs,
    kinds: options.faults ?? changed.kinds,
  };
}

function drawCourse(random: Random, kinds: readonly FaultKind[], nodes: number): Course {
  const drawn = random.below(4);
  // With as many nodes as replicas nobody holds less than everything.
  const isSparse = nodes === 0 || nodes >= SPARSE_NODES;
  if (drawn < 2 && isSparse && kinds.includes("members")) return drawn === 0 ? "churn" : "homecoming";
  if (random.below(4) === 0 && kinds.includes("wipe")) return "founding";
  if (random.below(9) === 0) return "succession";
  if (random.below(5) === 0) return "streaming";
  return random.below(12) === 0 ? "deposition" : "any";
}

/** Without these kinds of faults there is no such run. */
const NEEDED_BY: Readonly<Record<Course, readonly FaultKind[]>> = {
  any: [],
  churn: ["members"],
  homecoming: ["members"],
  founding: ["wipe"],
  streaming: [],
  succession: [],
  deposition: [],
};

/** So many nodes that some don't hold some shard. */
const SPARSE_NODES = 4;

/** What a course needs to be what it is. */
const OF_COURSE: Readonly<Record<Course, (random: Random, drawn: Profile) => Partial<Profile>>> = {
  any: () => ({}),
  churn: (random, { sizes }) => ({
    nodes: SPARSE_NODES + random.below(2),
    joiners: 1,
    replicas: [1, 2, 3, 3][random.below(4)]!,
    shards: 2 << random.below(2),
    faultsMs: 8000 + random.below(5000),
    // What a replica brought is in tables long before it gets its vote, or not at all.
    sizes:
      random.below(2) === 0
        ? sizes
        : { ...sizes, engine: { ...sizes.engine, memtableBytes: 1024 << random.below(10) } },
  }),
  homecoming: (random, { sizes, kinds }) => ({
    nodes: SPARSE_NODES,
    replicas: 3,
    shards: 2,
    keys: 4 + random.below(12),
    valueBytesMax: 200,
    faultsMs: 13_000,
    usual: { syncMs: 4 << random.below(2), latencyMs: 2 << random.below(2) },
    // One node is away already, and the rest has to get on with it.
    kinds: kinds.filter((kind) => GENTLE.includes(kind)),
    lostAfterMs: DEFAULT_TIMING_OPTIONS.lostAfterMs,
    // Nothing is compacted, so that who comes back gets the log from its beginning, and entry by entry.
    sizes: {
      ...sizes,
      engine: { ...sizes.engine, memtableBytes: 1 << 20 },
      log: { segmentBytes: 1 << 15, cacheBytes: 1024 },
      logBytesMax: 1 << 30,
      replication: {
        appendBytesMax: 64 << random.below(3),
        inflightAppendsMax: 1 + random.below(4),
        inflightBytesMax: 1 << 20,
      },
    },
  }),
  founding: (random, { kinds }) => {
    const isGentle = random.below(2) === 0;
    return {
      faultsMs: 6000 + random.below(3000),
      usual: { syncMs: 4 << random.below(3), latencyMs: 2 << random.below(3) },
      // One disk is lost already, and a minority away; and before the cluster is founded nobody can join it.
      kinds: kinds.filter((kind) => !UNFOUNDED.includes(kind) && (!isGentle || GENTLE.includes(kind))),
    };
  },
  streaming: (random, { sizes, kinds }) => {
    const partBytes = 32 << random.below(3);
    return {
      nodes: 3,
      replicas: 3,
      shards: 1 << random.below(2),
      clients: 6 + random.below(5),
      keys: 20 + random.below(40),
      valueBytesMax: 200,
      faultsMs: 6000 + random.below(4000),
      usual: { syncMs: 4 << random.below(2), latencyMs: 4 << random.below(3) },
      // What streams need is a leader that lives, and what ends them comes on purpose.
      kinds: random.below(8) === 0 ? kinds : kinds.filter((kind) => GENTLE.includes(kind)),
      lostAfterMs: DEFAULT_TIMING_OPTIONS.lostAfterMs,
      sizes: {
        ...sizes,
        // Short logs, so that who was away for a moment needs a snapshot, and streams of dozens of parts.
        engine: { ...sizes.engine, memtableBytes: 1024 << random.below(2) },
        log: { segmentBytes: 2048, cacheBytes: 1024 },
        logBytesMax: 4096,
        snapshots: {
          partBytes,
          windowBytes: partBytes * (2 + random.below(7)),
          giveUpMs: random.below(3) > 0 ? 1050 + random.below(700) : DEFAULT_SNAPSHOT_SIZES.giveUpMs,
        },
      },
    };
  },
  deposition: (random, { kinds, leaseDriftPercent }) => ({
    nodes: 3,
    replicas: 3,
    shards: 1,
    clients: 3,
    faultsMs: 7000 + random.below(3000),
    usual: { syncMs: 4, latencyMs: 2 << random.below(3) },
    // Leases as long as they may be.
    leaseDriftPercent: leaseDriftPercent === 0 && random.below(2) === 0 ? 0 : 10,
    kinds: kinds.filter((kind) => UNTIMED.includes(kind)),
    lostAfterMs: DEFAULT_TIMING_OPTIONS.lostAfterMs,
  }),
  succession: (random, { sizes, kinds, leaseDriftPercent }) => {
    const hasMembers = random.below(3) > 0;
    const gentle = kinds.filter((kind) => GENTLE.includes(kind) && kind !== "members");
    return {
      nodes: hasMembers ? SPARSE_NODES : 3,
      replicas: 3,
      shards: 1,
      faultsMs: 6000 + random.below(3000),
      usual: { syncMs: 4 << random.below(2), latencyMs: 2 << random.below(2) },
      // Who has promised to wait is late.
      leaseDriftPercent: random.below(4) === 0 ? leaseDriftPercent : 0,
      kinds: hasMembers ? [...gentle, "members"] : gentle,
      lostAfterMs: DEFAULT_TIMING_OPTIONS.lostAfterMs,
      // Entries travel one by one, so that one of an earlier term is somewhere before the first of its leader's own.
      sizes: {
        ...sizes,
        replication: {
          appendBytesMax: 64 << random.below(2),
          inflightAppendsMax: 1 + random.below(4),
          inflightBytesMax: 1 << 20,
        },
      },
    };
  },
};

/** What would keep a founder's loss from being what it is. */
const UNFOUNDED: readonly FaultKind[] = ["wipe", "absence", "members"];

/** What ends no process, and what nobody takes for the end of a leader. */
const UNTIMED: readonly FaultKind[] = ["repeat", "reorder"];

/** What makes everything later than it would be, and nothing impossible. */
const GENTLE: readonly FaultKind[] = ["loss", "repeat", "reorder", "delay", "slowdisk", "jump", "members"];

/** From dozens of parts that leave one by one to a single one: a run's data are a few kilobytes. */
function drawSnapshotSizes(random: Random): SnapshotSizes {
  const partBytes = 64 << random.below(7);
  return { ...DEFAULT_SNAPSHOT_SIZES, partBytes, windowBytes: partBytes * (1 << random.below(4)) };
}
