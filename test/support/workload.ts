/**
 * Concurrent clients that write and read all the time, and write down what they saw: a history for the linearizability
 * checker, and when writes were acknowledged.
 */
import { FlotillaError } from "../../src/client/client.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import type { Action, Operation } from "./history.ts";

/** What a workload needs of a client; the client library's has it. */
export interface WorkloadClient {
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, value: string): Promise<boolean>;
  delete(key: string): Promise<boolean>;
  increment(key: string, delta: bigint): Promise<bigint>;
  compareAndSet(key: string, expected: string | undefined, value: string | undefined): Promise<boolean>;
}

export interface WorkloadSpec {
  /** Decides what each client asks for. What it gets, and when, is up to the world. */
  readonly seed: number;
  /** A third of them hold counters, the others values. Default 24. */
  readonly keys?: number;
  /** What the names of the keys begin with. */
  readonly prefix?: string;
  /** Longest wait of a client between two operations. Default 2 ms. */
  readonly pauseMsMax?: number;
}

const KEYS = 24;
const PAUSE_MS_MAX = 2;
/** Stands for the client of `readAll` in the history. */
const READER = -1;

/** Starts one loop for each client. `stop` has to be called in the end. */
export function startWorkload(clients: readonly WorkloadClient[], spec: WorkloadSpec): Workload {
  return new Workload(clients, spec);
}

export class Workload {
  readonly #spec: Required<WorkloadSpec>;
  readonly #history: Operation[] = [];
  /** When writes were acknowledged, in order. */
  readonly #acknowledgedAt: number[] = [];
  /** What was last seen under a key, so that a cas has a chance. */
  readonly #seen = new Map<string, string | undefined>();
  readonly #loops: Promise<void>[];
  #serial = 0;
  #stopped = false;
  #problem: unknown;

  constructor(clients: readonly WorkloadClient[], spec: WorkloadSpec) {
    this.#spec = { keys: KEYS, prefix: "key", pauseMsMax: PAUSE_MS_MAX, ...spec };
    this.#loops = clients.map((client, number) => this.#loop(client, number));
  }

  /** Everything that was asked for so far and is over. */
  get history(): readonly Operation[] {
    return this.#history;
  }

  /** How many operations were answered, failed for certain, and have an unknown outcome. */
  get counts(): Readonly<Record<Operation["outcome"], number>> {
    const counts = { done: 0, failed: 0, unknown: 0 };
    for (const { outcome } of this.#history) counts[outcome]++;
    return counts;
  }

  /** How many writes have been acknowledged. */
  get acknowledged(): number {
    return this.#acknowledgedAt.length;
  }

  /** The longest time without an acknowledged write between two instants of `performance.now()`. */
  longestGapMs(fromMs: number, toMs: number): number {
    let last = fromMs;
    let longest = 0;
    for (const at of this.#acknowledgedAt) {
      if (at <= fromMs) continue;
      if (at >= toMs) break;
      longest = Math.max(longest, at - last);
      last = at;
    }
    return Math.max(longest, toMs - last);
  }

  /** Has `client` read every key once, as part of the history: what is there in the end must fit to it. */
  async readAll(client: WorkloadClient): Promise<void> {
    for (let number = 0; number < this.#spec.keys; number++) {
      await this.#perform(client, READER, `${this.#spec.prefix}${number}`, { kind: "get" });
    }
  }

  /** Lets what is under way come to its end. Rejects if a client failed in a way that none of its errors describes. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    if (this.#problem !== undefined) throw this.#problem;
  }

  async #loop(client: WorkloadClient, number: number): Promise<void> {
    // Each client has randomness of its own: the others' speed does not change what it does.
    const random = seededRandom(this.#spec.seed + 0x9e37 * (number + 1));
    while (!this.#stopped) {
      const key = `${this.#spec.prefix}${random.below(this.#spec.keys)}`;
      try {
        await this.#perform(client, number, key, this.#choose(random, key));
      } catch (error) {
        this.#problem ??= error;
        return;
      }
      await Bun.sleep(random.float() * this.#spec.pauseMsMax);
    }
  }

  #choose(random: Random, key: string): Action {
    const isCounter = Number(key.slice(this.#spec.prefix.length)) % 3 === 0;
    const dice = random.below(20);
    if (dice < 8) return { kind: "get" };
    if (isCounter) return { kind: "increment", delta: BigInt(1 + random.below(3)) };
    if (dice < 14) return { kind: "put", value: this.#fresh() };
    if (dice < 16) return { kind: "delete" };
    return { kind: "cas", expected: this.#seen.get(key), value: this.#fresh() };
  }

  /** A value that nobody else ever writes: a read of it says which write it saw. */
  #fresh(): string {
    return `v${this.#serial++}`;
  }

  async #perform(client: WorkloadClient, number: number, key: string, action: Action): Promise<void> {
    const invokedAt = performance.now();
    const record = (done: Action, outcome: Operation["outcome"]): void => {
      const returnedAt = performance.now();
      this.#history.push({ client: number, key, action: done, outcome, invokedAt, returnedAt });
      if (outcome === "done" && action.kind !== "get") this.#acknowledgedAt.push(returnedAt);
    };
    try {
      record(await this.#execute(client, key, action), "done");
    } catch (error) {
      if (!(error instanceof FlotillaError)) throw error;
      record(action, error.outcome === "unknown" ? "unknown" : "failed");
    }
  }

  async #execute(client: WorkloadClient, key: string, action: Action): Promise<Action> {
    switch (action.kind) {
      case "get": {
        const bytes = await client.get(key);
        const result = bytes === undefined ? undefined : fromUtf8(bytes);
        this.#seen.set(key, result);
        return { ...action, result };
      }
      case "put":
        await client.put(key, action.value);
        this.#seen.set(key, action.value);
        return action;
      case "delete":
        return { ...action, result: await client.delete(key) };
      case "increment":
        return { ...action, result: await client.increment(key, action.delta) };
      case "cas": {
        const result = await client.compareAndSet(key, action.expected, action.value);
        if (result) this.#seen.set(key, action.value);
        return { ...action, result };
      }
    }
  }
}
