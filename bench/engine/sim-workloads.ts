import type { Random } from "../../src/lib/prng.ts";
import { PUT, type SimCounts, type SimOptions, SimStore, TOMBSTONE } from "./sim-store.ts";

export const WORKLOADS = ["uniform", "zipfian", "sequential", "deletes", "queue", "expiry"] as const;
export type Workload = (typeof WORKLOADS)[number];

/**
 * The store of the default options in small: a memtable holds 64 entries and not 280,000, and everything else is in
 * proportion. Live data is about 300 memtables.
 */
export const SIM_DEFAULTS: SimOptions = {
  keys: 20_000,
  putBytes: 100,
  tombstoneBytes: 20,
  level0Tables: 4,
  level1Bytes: 4 * 6400,
  levelSizeRatio: 10,
  tableBytes: 3200,
  garbageShare: 0.25,
  workers: 1,
  workerBytes: Number.POSITIVE_INFINITY,
  level0TablesStop: 24,
};

const FLUSH_ENTRIES = 64;
/** How long a value lives in the workload `expiry`, in flushes. */
const LIFETIME = 200;

/** What a run was like. Amplifications are of the whole run; those of space and reads are averages of samples. */
export interface SimResult {
  readonly workload: Workload;
  readonly counts: Readonly<SimCounts>;
  /** Bytes written to tables, by flushes and compactions, for each byte flushed. */
  readonly writeAmplification: number;
  /** Bytes of all tables for each byte that a reader can see. */
  readonly spaceAmplification: number;
  readonly spaceAmplificationMax: number;
  /** Tables that a read of any key looks into, filters aside. */
  readonly readAmplification: number;
  /** Tables in each level at the end. */
  readonly tables: readonly number[];
  /** Entries that hold nothing, of all entries, at the end when nothing was left to do. */
  readonly garbageShare: number;
  /** The same after all was compacted. */
  readonly garbageLeft: number;
  /** Entries after all was compacted, for each that a reader can see. */
  readonly entriesLeft: number;
}

/** `flushes` flushes of a workload, then rest, then a compaction of everything. Checks on the way, and throws. */
export function simulate(
  workload: Workload,
  options: SimOptions,
  flushes: number,
  random: Random,
): SimResult {
  const store = new SimStore(options);
  const writer = writerOf(workload, options.keys, random);
  const sampleEvery = Math.max(1, Math.floor(flushes / 400));
  let samples = 0;
  let spaceSum = 0;
  let spaceMax = 0;
  let probes = 0;
  for (let flush = 1; flush <= flushes; flush++) {
    store.now = flush;
    const { keys, kinds } = writer(flush);
    store.flush(keys, kinds);
    probes += store.read(random.below(options.keys));
    if (flush % sampleEvery !== 0 || flush < flushes / 5) continue;
    store.checkLevels();
    const { bytes, liveBytes } = store.space();
    if (liveBytes === 0) continue;
    samples++;
    spaceSum += bytes / liveBytes;
    spaceMax = Math.max(spaceMax, bytes / liveBytes);
  }
  const { counts } = store;
  const { flushedBytes, compactedBytes } = counts;
  const during = { ...counts };
  store.settle();
  checkAll(store, options.keys);
  const rest = store.space();
  const tables = store.levels.map((level) => level.length);
  store.compactAll();
  checkAll(store, options.keys);
  const end = store.space();
  return {
    workload,
    counts: during,
    writeAmplification: (flushedBytes + compactedBytes) / flushedBytes,
    spaceAmplification: spaceSum / Math.max(1, samples),
    spaceAmplificationMax: spaceMax,
    readAmplification: probes / flushes,
    tables,
    garbageShare: rest.garbage / Math.max(1, rest.entries),
    garbageLeft: end.garbage,
    entriesLeft: end.entries / Math.max(1, end.live),
  };
}

function checkAll(store: SimStore, keys: number): void {
  store.checkLevels();
  for (let key = 0; key < keys; key++) store.read(key);
}

type Writer = (flush: number) => { readonly keys: Uint32Array; readonly kinds: Uint32Array };

/** What each flush of a workload holds. */
function writerOf(workload: Workload, keyCount: number, random: Random): Writer {
  const draws = new Uint32Array(FLUSH_ENTRIES);
  const drawn = (draw: () => number, kindOf: () => number): ReturnType<Writer> => {
    for (let i = 0; i < FLUSH_ENTRIES; i++) draws[i] = draw();
    draws.sort();
    let count = 0;
    for (let i = 0; i < FLUSH_ENTRIES; i++)
      if (i === 0 || draws[i] !== draws[i - 1]) draws[count++] = draws[i]!;
    const keys = draws.slice(0, count);
    const kinds = new Uint32Array(count);
    for (let i = 0; i < count; i++) kinds[i] = kindOf();
    return { keys, kinds };
  };
  const uniform = (): number => random.below(keyCount);
  const put = (): number => PUT;
  switch (workload) {
    case "uniform":
      return () => drawn(uniform, put);
    case "zipfian": {
      const zipf = zipfian(keyCount, random);
      return () => drawn(zipf, put);
    }
    case "deletes":
      return () => drawn(uniform, () => (random.below(2) === 0 ? PUT : TOMBSTONE));
    case "expiry":
      return (flush) => drawn(uniform, () => flush + LIFETIME);
    case "sequential": {
      let next = 0;
      return () => {
        const first = next + FLUSH_ENTRIES > keyCount ? 0 : next;
        next = first + FLUSH_ENTRIES;
        const keys = Uint32Array.from({ length: FLUSH_ENTRIES }, (_, i) => first + i);
        return { keys, kinds: new Uint32Array(FLUSH_ENTRIES) };
      };
    }
    case "queue": {
      // Written at one end and deleted at the other, a sixteenth of the keys apart.
      const half = FLUSH_ENTRIES / 2;
      const blocks = Math.floor(keyCount / half);
      const distance = Math.max(1, Math.floor(blocks / 16));
      let block = 0;
      return () => {
        const head = block++ % blocks;
        const tail = (head + blocks - distance) % blocks;
        const entries = Array.from({ length: half }, (_, i) => [
          [head * half + i, PUT],
          [tail * half + i, TOMBSTONE],
        ])
          .flat()
          .sort((a, b) => a[0]! - b[0]!);
        return {
          keys: Uint32Array.from(entries, ([key]) => key!),
          kinds: Uint32Array.from(entries, ([, kind]) => kind!),
        };
      };
    }
    default: {
      const never: never = workload;
      throw new Error(`no such workload: ${never}`);
    }
  }
}

/** Gray et al., "Quickly Generating Billion-Record Synthetic Databases", 1994, as in YCSB: the ranks are spread over the keys. */
function zipfian(keyCount: number, random: Random): () => number {
  const theta = 0.99;
  let zeta = 0;
  for (let i = 1; i <= keyCount; i++) zeta += 1 / i ** theta;
  const zeta2 = 1 + 0.5 ** theta;
  const alpha = 1 / (1 - theta);
  const eta = (1 - (2 / keyCount) ** (1 - theta)) / (1 - zeta2 / zeta);
  return () => {
    const u = random.float();
    const uz = u * zeta;
    let rank = 0;
    if (uz >= 1) rank = uz < zeta2 ? 1 : Math.floor(keyCount * (eta * u - eta + 1) ** alpha);
    return (Math.imul(Math.min(rank, keyCount - 1) + 1, 0x9e3779b1) >>> 0) % keyCount;
  };
}
