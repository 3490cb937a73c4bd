/**
 * A store without a disk, to see what a compaction policy does over very many flushes: tables are arrays of small numbers,
 * and a merge costs some nanoseconds an entry. The policy is the engine's own (`src/storage/compaction-policy.ts`), and so
 * is what cuts the output (`output-cuts.ts`). What the engine promises is checked on the way: levels that are sorted and
 * disjoint, plans that take tables which are there and which no other plan has, and that every key reads as it was written
 * last.
 */
import { type CompactionPlan, conflict, LEVELS } from "../../src/storage/compaction-plan.ts";
import { BELOW_TABLES, type CompactionLimits, pickCompaction } from "../../src/storage/compaction-policy.ts";
import { SEQUENCE_MAX } from "../../src/storage/cursor.ts";
import type { KeyRange } from "../../src/storage/key-range.ts";
import { bytesOf, type TableMeta } from "../../src/storage/manifest.ts";
import { OutputCuts } from "../../src/storage/output-cuts.ts";
import { compactSpan, nextSpanStep } from "../../src/storage/span-compaction.ts";

/** What an entry says of its key: a number above these is a time from which the value is gone. */
export const PUT = 0;
export const TOMBSTONE = 1;

export interface SimOptions extends CompactionLimits {
  /** Keys are the numbers below it. */
  readonly keys: number;
  readonly putBytes: number;
  readonly tombstoneBytes: number;
  /** Compactions at a time. */
  readonly workers: number;
  /** What one worker writes while one memtable fills, in bytes; what is more is put off. */
  readonly workerBytes: number;
  /** Tables in level 0 at which writers wait. */
  readonly level0TablesStop: number;
}

/** A table, and what it holds: keys in order, each with the sequence number and the kind of its entry. */
interface SimTable extends TableMeta {
  readonly keys: Uint32Array;
  readonly sequences: Uint32Array;
  readonly kinds: Uint32Array;
}

interface Job {
  readonly plan: CompactionPlan;
  readonly outputs: readonly SimTable[];
  /** Bytes that are not written yet. */
  left: number;
}

/** What was written, and how often. */
export interface SimCounts {
  flushes: number;
  flushedBytes: number;
  compactedBytes: number;
  merges: number;
  moved: number;
  dropped: number;
  /** Times that a memtable could not be flushed because level 0 was full, each as long as a memtable takes to fill. */
  stalls: number;
  level0Max: number;
}

export class SimStore {
  readonly counts: SimCounts = {
    flushes: 0,
    flushedBytes: 0,
    compactedBytes: 0,
    merges: 0,
    moved: 0,
    dropped: 0,
    stalls: 0,
    level0Max: 0,
  };
  readonly #options: SimOptions;
  readonly #keyBytes: Uint8Array[];
  /** What was written last for each key. */
  readonly #lastSequence: Uint32Array;
  readonly #lastKind: Uint32Array;
  readonly #levels: SimTable[][] = Array.from({ length: LEVELS }, () => []);
  readonly #jobs: Job[] = [];
  #sequence = 0;
  #number = 0;
  #now = 0;

  constructor(options: SimOptions) {
    this.#options = options;
    this.#lastSequence = new Uint32Array(options.keys);
    this.#lastKind = new Uint32Array(options.keys).fill(TOMBSTONE);
    const bytes = new Uint8Array(options.keys * 4);
    const view = new DataView(bytes.buffer);
    for (let key = 0; key < options.keys; key++) view.setUint32(key * 4, key);
    this.#keyBytes = Array.from({ length: options.keys }, (_, key) => bytes.subarray(key * 4, key * 4 + 4));
  }

  get levels(): readonly (readonly TableMeta[])[] {
    return this.#levels;
  }

  /** The store's time. */
  get now(): number {
    return this.#now;
  }

  set now(now: number) {
    this.#now = now;
  }

  /** Flushes a memtable (`kinds[i]` is of `keys[i]`, keys in order, none twice), and lets the workers work meanwhile. */
  flush(keys: Uint32Array, kinds: Uint32Array): void {
    const { counts } = this;
    const sequences = new Uint32Array(keys.length);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      sequences[i] = ++this.#sequence;
      this.#lastSequence[key] = this.#sequence;
      this.#lastKind[key] = kinds[i]!;
    }
    const table = this.#table(0, keys, sequences, kinds);
    this.#levels[0]!.unshift(table);
    counts.flushes++;
    counts.flushedBytes += table.bytes;
    counts.level0Max = Math.max(counts.level0Max, this.#levels[0]!.length);
    this.#work();
    while (this.#levels[0]!.length >= this.#options.level0TablesStop) {
      counts.stalls++;
      this.#work();
    }
  }

  /** Lets the workers end all that there is to do. Throws if there is no end to it. */
  settle(): void {
    for (let rounds = 0; this.#work() || this.#jobs.length > 0; rounds++) {
      if (rounds > 1_000_000) throw new Error("compactions go on and on");
    }
  }

  /** What `Engine.compact` does, after `settle`. */
  compactAll(): void {
    let progress = compactSpan({}, this.#number + 1);
    for (let steps = 0; ; steps++) {
      if (steps > 1_000_000) throw new Error("the compaction of all keys goes on and on");
      const step = nextSpanStep(this.#view(), this.#options, progress);
      if (step === undefined) return;
      const { plan } = step;
      if (plan === undefined) throw new Error("nothing runs, but the compaction waits");
      this.#check(plan);
      this.#apply(plan, plan.kind === "merge" ? this.#merge(plan) : []);
      progress = step.progress;
    }
  }

  /** Bytes of all tables, and of what a reader could see of them. */
  space(): { bytes: number; liveBytes: number; live: number; entries: number; garbage: number } {
    const { putBytes } = this.#options;
    let live = 0;
    for (const kind of this.#lastKind) if (!this.#isGone(kind)) live++;
    let bytes = 0;
    let entries = 0;
    let garbage = 0;
    for (const tables of this.#levels) {
      for (const table of tables) {
        bytes += table.bytes;
        entries += table.entries;
        for (const kind of table.kinds) if (this.#isGone(kind)) garbage++;
      }
    }
    return { bytes, liveBytes: live * putBytes, live, entries, garbage };
  }

  /** Tables that a read of `key` looks into, if no filter tells it not to. Throws if the answer is wrong. */
  read(key: number): number {
    let probes = 0;
    let found = -1;
    let kind = TOMBSTONE;
    for (let level = 0; level < LEVELS && found < 0; level++) {
      const tables = this.#levels[level]!;
      if (level === 0) {
        for (const table of tables) {
          if (table.keys[0]! > key || table.keys[table.keys.length - 1]! < key) continue;
          probes++;
          const at = indexOf(table.keys, key);
          if (at < 0) continue;
          found = table.sequences[at]!;
          kind = table.kinds[at]!;
          break;
        }
        continue;
      }
      const table = tables[this.#place(tables, key)];
      if (table === undefined || table.keys[0]! > key) continue;
      probes++;
      const at = indexOf(table.keys, key);
      if (at < 0) continue;
      found = table.sequences[at]!;
      kind = table.kinds[at]!;
    }
    const expected = this.#lastKind[key]!;
    const right = this.#isGone(expected)
      ? this.#isGone(kind)
      : found === this.#lastSequence[key] && kind === expected;
    if (!right)
      throw new Error(`key ${key} reads as entry ${found}, written last was ${this.#lastSequence[key]}`);
    return probes;
  }

  /** Throws if a level is not one sorted run. */
  checkLevels(): void {
    for (let level = 1; level < LEVELS; level++) {
      let last = -1;
      for (const table of this.#levels[level]!) {
        if (table.level !== level)
          throw new Error(`table ${table.number} says that it is in level ${table.level}`);
        for (const key of table.keys) {
          if (key <= last) throw new Error(`level ${level}: key ${key} comes after ${last}`);
          last = key;
        }
      }
    }
  }

  #isGone(kind: number): boolean {
    return kind !== PUT && (kind === TOMBSTONE || kind <= this.#now);
  }

  /** One share of the workers' work; false if there is none. */
  #work(): boolean {
    let worked = false;
    for (let worker = 0; worker < this.#options.workers; worker++) {
      let budget = this.#options.workerBytes;
      while (budget > 0) {
        const job = this.#jobs[worker] ?? this.#start();
        if (job === undefined) break;
        worked = true;
        const written = Math.min(budget, job.left);
        job.left -= written;
        budget -= written;
        if (job.left > 0) break;
        this.#jobs.splice(this.#jobs.indexOf(job), 1);
        this.#apply(job.plan, job.outputs);
      }
    }
    return worked;
  }

  /** Begins the next merge; what is no merge is done at once. */
  #start(): Job | undefined {
    for (;;) {
      const plan = pickCompaction(this.#view(), this.#options);
      if (plan === undefined) return undefined;
      this.#check(plan);
      if (plan.kind === "merge") {
        const outputs = this.#merge(plan);
        const job = { plan, outputs, left: bytesOf(outputs) };
        this.#jobs.push(job);
        return job;
      }
      this.#apply(plan, []);
    }
  }

  #view(): Parameters<typeof pickCompaction>[0] {
    const running = this.#jobs.map(({ plan }) => plan);
    return { levels: this.#levels, now: this.#now, oldestSnapshot: SEQUENCE_MAX, running };
  }

  #check(plan: CompactionPlan): void {
    const { inputs, outputLevel, kind } = plan;
    if (inputs.length === 0) throw new Error("a plan without tables");
    for (const table of inputs) {
      if (!this.#levels[table.level]!.includes(table as SimTable)) {
        throw new Error(`a plan takes table ${table.number}, which is not in level ${table.level}`);
      }
    }
    if (new Set(inputs).size !== inputs.length) throw new Error("a plan takes a table twice");
    for (const { plan: other } of this.#jobs) {
      const shared = inputs.find((table) => other.inputs.includes(table));
      if (shared !== undefined) throw new Error(`two plans take table ${shared.number}`);
      if (kind !== "drop" && conflict(plan, other)) throw new Error("two plans write to the same place");
    }
    if (outputLevel < 1 || outputLevel >= LEVELS) throw new Error(`a plan writes to level ${outputLevel}`);
  }

  #apply({ kind, inputs, outputLevel }: CompactionPlan, outputs: readonly SimTable[]): void {
    const { counts } = this;
    for (const table of inputs) {
      const tables = this.#levels[table.level]!;
      const index = table.level === 0 ? -1 : this.#place(tables, (table as SimTable).keys[0]!);
      tables.splice(index < 0 ? tables.indexOf(table as SimTable) : index, 1);
    }
    let added = outputs;
    if (kind === "move") added = inputs.map((table) => ({ ...(table as SimTable), level: outputLevel }));
    const target = this.#levels[outputLevel]!;
    for (const table of added) target.splice(this.#place(target, table.keys[0]!), 0, table);
    if (kind === "merge") counts.merges++;
    else if (kind === "move") counts.moved += inputs.length;
    else counts.dropped += inputs.length;
    if (kind === "merge") counts.compactedBytes += bytesOf(outputs);
  }

  /** The first table of a level that does not end below `key`. */
  #place(tables: readonly SimTable[], key: number): number {
    let low = 0;
    let high = tables.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { keys } = tables[middle]!;
      if (keys[keys.length - 1]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #merge({ inputs, outputLevel, deeper, below }: CompactionPlan): SimTable[] {
    const { tableBytes, putBytes, tombstoneBytes } = this.#options;
    const runs = runsOf(inputs as readonly SimTable[]);
    let hidden: Intervals | undefined;
    const cuts = new OutputCuts(below, BELOW_TABLES * tableBytes);
    const most = inputs.reduce((sum, table) => sum + table.entries, 0);
    const keys = new Uint32Array(most);
    const sequences = new Uint32Array(most);
    const kinds = new Uint32Array(most);
    const outputs: SimTable[] = [];
    let from = 0;
    let count = 0;
    let bytes = 0;
    const cut = (): void => {
      if (count > from) {
        outputs.push(
          this.#table(
            outputLevel,
            keys.slice(from, count),
            sequences.slice(from, count),
            kinds.slice(from, count),
          ),
        );
      }
      from = count;
      bytes = 0;
      cuts.ended();
    };
    for (;;) {
      let key = 0xffff_ffff;
      let sequence = -1;
      let kind = 0;
      for (const run of runs) {
        if (run.key > key) continue;
        // Of equal keys the newest counts.
        if (run.key < key || run.sequence > sequence) ({ key, sequence, kind } = run);
      }
      if (sequence < 0) break;
      for (const run of runs) if (run.key === key) run.next();
      if (this.#isGone(kind)) {
        kind = TOMBSTONE;
        hidden ??= new Intervals(deeper);
        if (!hidden.has(key)) continue;
      }
      if (bytes >= tableBytes || (cuts.cutsBefore(this.#keyBytes[key]!, 0, 4) && count > from)) cut();
      keys[count] = key;
      sequences[count] = sequence;
      kinds[count++] = kind;
      bytes += kind === TOMBSTONE ? tombstoneBytes : putBytes;
    }
    cut();
    return outputs;
  }

  #table(level: number, keys: Uint32Array, sequences: Uint32Array, kinds: Uint32Array): SimTable {
    const { putBytes, tombstoneBytes } = this.#options;
    let tombstones = 0;
    let expiring = 0;
    let latestExpiry = 0;
    let overwritten = 0;
    let largestSequence = 0;
    for (let i = 0; i < keys.length; i++) {
      const kind = kinds[i]!;
      if (i > 0 && keys[i] === keys[i - 1]) overwritten++;
      if (kind === TOMBSTONE) tombstones++;
      else if (kind !== PUT) {
        expiring++;
        if (kind > latestExpiry) latestExpiry = kind;
      }
      if (sequences[i]! > largestSequence) largestSequence = sequences[i]!;
    }
    return {
      number: ++this.#number,
      level,
      bytes: (keys.length - tombstones) * putBytes + tombstones * tombstoneBytes,
      entries: keys.length,
      tombstones,
      rangeTombstones: 0,
      expiring,
      latestExpiry,
      overwritten,
      largestSequence,
      smallestKey: this.#keyBytes[keys[0]!]!,
      largestKey: this.#keyBytes[keys[keys.length - 1]!]!,
      largestKeyIncluded: true,
      keys,
      sequences,
      kinds,
    };
  }
}

/** Tables that follow each other, as one cursor. */
class Run {
  key = 0xffff_ffff;
  sequence = -1;
  kind = 0;
  readonly #tables: readonly SimTable[];
  #table = 0;
  #at = -1;

  constructor(tables: readonly SimTable[]) {
    this.#tables = tables;
    this.next();
  }

  next(): void {
    let table = this.#tables[this.#table]!;
    if (++this.#at === table.keys.length) {
      this.#at = 0;
      const following = this.#tables[++this.#table];
      if (following === undefined) {
        this.#table--;
        this.#at = table.keys.length - 1;
        this.key = 0xffff_ffff;
        this.sequence = -1;
        return;
      }
      table = following;
    }
    this.key = table.keys[this.#at]!;
    this.sequence = table.sequences[this.#at]!;
    this.kind = table.kinds[this.#at]!;
  }
}

function runsOf(inputs: readonly SimTable[]): Run[] {
  const runs: Run[] = [];
  for (let level = 0; level < LEVELS; level++) {
    const tables = inputs.filter((table) => table.level === level);
    if (level === 0) for (const table of tables) runs.push(new Run([table]));
    else if (tables.length > 0) runs.push(new Run(tables));
  }
  return runs;
}

/** Ranges of keys, asked for ascending keys. */
class Intervals {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #at = 0;

  constructor(ranges: readonly KeyRange[]) {
    const number = (key: Uint8Array): number => new DataView(key.buffer, key.byteOffset, 4).getUint32(0);
    const sorted = ranges
      .map(({ smallestKey, largestKey }) => [number(smallestKey), number(largestKey)] as const)
      .sort((a, b) => a[0] - b[0]);
    for (const [start, end] of sorted) {
      const last = this.#ends.length - 1;
      if (last >= 0 && start <= this.#ends[last]!) this.#ends[last] = Math.max(end, this.#ends[last]!);
      else {
        this.#starts.push(start);
        this.#ends.push(end);
      }
    }
  }

  has(key: number): boolean {
    while (this.#at < this.#ends.length && this.#ends[this.#at]! < key) this.#at++;
    return this.#at < this.#ends.length && this.#starts[this.#at]! <= key;
  }
}

function indexOf(keys: Uint32Array, key: number): number {
  let low = 0;
  let high = keys.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    if (keys[middle] === key) return middle;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
