/**
 * Keys that expire, against an oracle that is a map: shards over one engine whose logs' times are far apart, one of which comes later, flushes and
 * compactions that drop what has expired, and crashes after which what was not in tables is applied again. Every answer
 * has to be the oracle's, the second time as well. `RUNS` and `SEED` as everywhere.
 */
import { expect, test } from "bun:test";
import { groupOfShard, logIndex, type ShardId, shardId } from "../../protocol/ids.ts";
import {
  ANY_DEADLINE,
  type ClientResponse,
  type DeadlineCondition,
  NO_SESSION,
  type WriteRequest,
} from "../../protocol/messages.ts";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import type { DurableEngine } from "../storage/engine.ts";
import { openLsm } from "../storage/lsm.ts";
import { ApplyBuffer } from "./apply-buffer.ts";
import { CommandBatch, CommandBatchReader } from "./command-batch.ts";
import { ENGINE_LIMITS, EngineKeys } from "./engine-keys.ts";
import { EntryBuffers } from "./entry-buffers.ts";
import { KeyValueMachine } from "./key-value-machine.ts";
import { SealTracker } from "./seal-tracker.ts";
import type { Shard } from "./shard.ts";
import { ShardReader } from "./shard-reader.ts";
import { NO_SNAPSHOTS } from "./testing/no-snapshots.ts";

const SEED = testSeed("expiry.test.ts");
const RUNS = Number(process.env.RUNS ?? 6);
const STEPS = 150;
const KEYS = ["a", "b", "c", "d", "e", "f"];

/** What a shard is, in the plainest way. */
class Oracle {
  timeMs = 0;
  #entries = new Map<string, { readonly value: string; readonly deadline: number }>();

  get all(): string[] {
    return [...this.#entries.keys()]
      .filter((key) => this.#find(key))
      .sort()
      .map((key) => `${key}=${this.#find(key)!.value}`);
  }

  ttl(key: string): bigint {
    const found = this.#find(key);
    return found === undefined ? -2n : found.deadline === 0 ? -1n : BigInt(found.deadline);
  }

  apply(request: WriteRequest): unknown {
    if (request.kind === "batch" || request.kind === "openSession") throw new Error("not asked here");
    const key = fromUtf8(request.key);
    const found = this.#find(key);
    switch (request.kind) {
      case "put":
        return this.#when(holds(request.condition, found), () => this.#set(key, fromUtf8(request.value), 0));
      case "putWith": {
        const done = this.#when(holds(request.condition, found), () => {
          const deadline = request.expiry === "keep" ? (found?.deadline ?? 0) : this.#deadline(request);
          this.#set(key, fromUtf8(request.value), deadline);
        });
        return request.answersOld ? found?.value : done;
      }
      case "expire": {
        const deadline = this.#deadline(request);
        const [before, after] = [found?.deadline || Infinity, deadline || Infinity];
        const { ifNone, ifSome, ifLater, ifEarlier } = request.condition;
        const wanted =
          (!ifNone || before === Infinity) &&
          (!ifSome || before !== Infinity) &&
          (!ifLater || after > before) &&
          (!ifEarlier || after < before);
        const done = this.#when(found !== undefined && wanted, () => this.#set(key, found!.value, deadline));
        return request.answersOld ? found?.value : done;
      }
      case "delete":
        return this.#when(found !== undefined, () => this.#entries.delete(key));
      case "increment": {
        if (found !== undefined && !/^\d+$/.test(found.value)) return "NOT_AN_INTEGER";
        const sum = BigInt(found?.value ?? "0") + request.delta;
        this.#set(key, String(sum), found?.deadline ?? 0);
        return sum;
      }
      case "compareAndSet": {
        const expected = request.expected && fromUtf8(request.expected);
        return this.#when(found?.value === expected, () => {
          if (request.value === undefined) this.#entries.delete(key);
          else this.#set(key, fromUtf8(request.value), 0);
        });
      }
    }
  }

  #find(key: string) {
    const found = this.#entries.get(key);
    return found === undefined || (found.deadline !== 0 && found.deadline <= this.timeMs) ? undefined : found;
  }

  #set(key: string, value: string, deadline: number): void {
    this.#entries.set(key, { value, deadline });
  }

  #deadline({ expiry, expiryMs }: { readonly expiry: string; readonly expiryMs: number }): number {
    if (expiry === "clear") return 0;
    return expiry === "after" ? this.timeMs + expiryMs : Math.max(1, expiryMs);
  }

  #when(condition: boolean, work: () => void): boolean {
    if (condition) work();
    return condition;
  }
}

const holds = (condition: string, found: unknown): boolean =>
  condition === "always" || (found !== undefined) === (condition === "ifPresent");

interface LogEntry {
  readonly timeMs: number;
  readonly requests: readonly WriteRequest[];
  readonly answers: readonly unknown[];
}

/** One shard: its log outlives the engine, its machine does not. */
class Replica {
  readonly shard: ShardId;
  readonly log: LogEntry[] = [];
  readonly oracle = new Oracle();
  readonly keys: EngineKeys;
  #machine!: KeyValueMachine;
  #buffer!: ApplyBuffer;
  #reader!: ShardReader;
  applied = 0;
  logTimeMs = 0;

  constructor(number: number, keys: EngineKeys) {
    this.shard = shardId(number);
    this.keys = keys;
  }

  /** Begins with what the engine has of the shard. */
  open(engine: DurableEngine, saved: Saved | undefined): void {
    this.#buffer = new ApplyBuffer(engine);
    this.#machine = new KeyValueMachine(this.shard, this.#buffer, this.keys);
    this.#reader = new ShardReader(this.shard, engine, this.keys, NO_SNAPSHOTS);
    if (saved !== undefined) this.#machine.restore(saved.dump);
    this.applied = saved?.applied ?? 0;
    this.logTimeMs = saved?.timeMs ?? 0;
  }

  /** Applies what the engine lacked, which must answer as it did before. */
  catchUp(): void {
    for (const entry of this.log.slice(this.applied)) expect(this.#apply(entry)).toEqual([...entry.answers]);
  }

  /** What the seal tracker looks at. */
  get asShard(): Shard {
    const self = this;
    return {
      group: groupOfShard(this.shard),
      get appliedIndex() {
        return logIndex(self.applied);
      },
      get logTimeMs() {
        return self.logTimeMs;
      },
      metaForSeal: () => utf8("meta"),
    } as unknown as Shard;
  }

  get saved(): Saved {
    return { applied: this.applied, timeMs: this.logTimeMs, dump: this.#machine.dump() };
  }

  write(timeMs: number, requests: readonly WriteRequest[]): void {
    this.oracle.timeMs = Math.max(this.oracle.timeMs, timeMs);
    const answers = requests.map((request) => this.oracle.apply(request));
    this.log.push({ timeMs, requests, answers });
    expect(this.#apply({ timeMs, requests })).toEqual(answers);
  }

  #apply({ timeMs, requests }: Omit<LogEntry, "answers">): unknown[] {
    const batch = new CommandBatch(new EntryBuffers(4096));
    for (const request of requests) batch.add(request);
    const reader = new CommandBatchReader();
    reader.open(batch.take(timeMs, logIndex(0)));
    this.logTimeMs = Math.max(this.logTimeMs, timeMs);
    reader.timeMs = this.logTimeMs;
    const answers: unknown[] = [];
    this.#machine.apply(reader, { answer: (response) => void answers.push(outcome(response)) });
    this.#buffer.commit();
    this.applied++;
    return answers;
  }

  /** A reader sees what the oracle has. */
  check(): void {
    const time = { logMs: this.logTimeMs, clockMs: this.logTimeMs, heedsClock: false };
    const scan = this.#reader.read(
      {
        ...{ kind: "scan", start: new Uint8Array(0), end: undefined, limit: 100, keysOnly: false },
        ...{ consistency: "linearizable", shard: undefined },
      },
      0,
      time,
    );
    const entries = scan?.kind === "entries" ? scan.entries : [];
    expect(entries.map(({ key, value }) => `${fromUtf8(key)}=${fromUtf8(value)}`)).toEqual(this.oracle.all);
    for (const key of KEYS) {
      const ask = { kind: "ttl", key: utf8(key), form: "at", consistency: "linearizable" } as const;
      expect(this.#reader.read(ask, 0, time)).toEqual({ kind: "integer", value: this.oracle.ttl(key) });
    }
  }
}

interface Saved {
  readonly applied: number;
  readonly timeMs: number;
  readonly dump: unknown;
}

function outcome(answer: ClientResponse): unknown {
  if (answer.kind === "value") return answer.value && fromUtf8(answer.value);
  return answer.kind === "error" ? answer.error : "value" in answer ? answer.value : answer.kind;
}

type Deadline =
  | { readonly expiry: "after" | "at" | "clear"; readonly expiryMs: number }
  | { readonly expiry: "keep"; readonly expiryMs: 0 };

function randomWrite(random: Random, nowMs: number): WriteRequest {
  const pick = <T>(...choices: readonly T[]): T => choices[random.below(choices.length)]!;
  const target = { stamp: NO_SESSION, key: utf8(pick(...KEYS)) };
  const value = utf8(String(random.below(50)));
  const after = { expiry: "after", expiryMs: random.below(4000) } as const;
  const at = { expiry: "at", expiryMs: Math.max(0, nowMs - 500 + random.below(4000)) } as const;
  const condition = pick("always" as const, "always" as const, "ifAbsent" as const, "ifPresent" as const);
  const answersOld = random.below(3) === 0;
  switch (random.below(9)) {
    case 0:
      return { kind: "put", ...target, value, condition };
    case 1:
      return { kind: "delete", ...target };
    case 2:
    case 3:
      return { kind: "increment", ...target, delta: 1n };
    case 4:
      return {
        kind: "compareAndSet",
        ...target,
        expected: pick(value, undefined),
        value: pick(value, undefined),
      };
    case 5:
    case 6: {
      const keep = { expiry: "keep", expiryMs: 0 } as const;
      return {
        kind: "putWith",
        ...target,
        value,
        condition,
        answersOld,
        ...pick<Deadline>(after, after, at, keep),
      };
    }
    default: {
      const name = pick("ifNone", "ifSome", "ifLater", "ifEarlier", "nothing");
      const wanted: DeadlineCondition = { ...ANY_DEADLINE, ...(name === "nothing" ? {} : { [name]: true }) };
      const clear = { expiry: "clear", expiryMs: 0 } as const;
      return {
        kind: "expire",
        ...target,
        condition: wanted,
        answersOld,
        ...pick<Exclude<Deadline, { expiry: "keep" }>>(after, at, clear),
      };
    }
  }
}

async function run(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const fs = new MemoryFileSystem();
  const keys = new EngineKeys();
  const replicas = [new Replica(0, keys), new Replica(1, keys)];
  // The clock of one shard's leader is far behind the other's.
  const clocks = [1_000_000, 1_000_000 + random.below(2) * 50_000];
  let sealed: (readonly Saved[])[] = [];
  let durable: readonly Saved[] | undefined;
  let seals: SealTracker;
  let engine: DurableEngine;
  const open = async () => {
    seals = new SealTracker();
    const tracker = seals;
    sealed = [];
    const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: consoleLog("error") };
    const options = { ...ENGINE_LIMITS, memtableBytes: 64 * 1024, level0Tables: 2, onFatal: () => undefined };
    engine = await openLsm(env, "/store", options, {
      beforeSeal(seal, batch) {
        tracker.beforeSeal(seal, batch);
        sealed.push(replicas.map((replica) => replica.saved));
      },
      flushed(seal) {
        tracker.flushed(seal);
        durable = sealed.shift();
      },
    });
    for (const [number, replica] of replicas.entries()) replica.open(engine, durable?.[number]);
    for (const replica of replicas) tracker.attach(replica.asShard);
    for (const replica of replicas) replica.catchUp();
  };
  await open();
  /** Another shard comes to this node, whose log's time is far behind. */
  const join = (): void => {
    const replica = new Replica(2, keys);
    replica.open(engine, undefined);
    replicas.push(replica);
    clocks.push(900_000);
    seals.attach(replica.asShard);
    engine.rewindTime(seals.flushedTimeMs);
  };
  const joinsAt = random.below(STEPS);
  const write = (): void => {
    const number = random.below(replicas.length);
    clocks[number]! += random.below(800);
    // Now and then the clock of another leader, which is behind.
    const timeMs = clocks[number]! - (random.below(5) === 0 ? 600 : 0);
    const requests = Array.from({ length: random.below(4) }, () => randomWrite(random, timeMs));
    replicas[number]!.write(timeMs, requests);
  };
  for (let step = 0; step < STEPS; step++) {
    if (step === joinsAt) join();
    write();
    const dice = random.below(12);
    if (dice < 2) await engine!.flush();
    if (dice < 4) engine!.advanceTime(seals!.flushedTimeMs);
    if (dice === 4) {
      // What is applied while it is being compacted is in no table, and is lost in a crash.
      const compacted = engine!.compact();
      for (let i = 0; i < 6; i++) write();
      engine!.advanceTime(seals!.flushedTimeMs);
      await compacted;
    }
    if (dice === 5 || (dice === 4 && random.below(2) === 0)) {
      await engine!.close();
      await open();
    }
    for (const replica of replicas) replica.check();
  }
  await engine!.close();
}

test("expiry is what an oracle says, through compactions and crashes", async () => {
  for (let i = 0; i < RUNS; i++) {
    const seed = SEED + i;
    try {
      await run(seed);
    } catch (error) {
      console.log(`SEED=${seed} RUNS=1 fails`);
      throw error;
    }
  }
});
