/**
 * One whole node, log store and engine included, on a disk that loses power at a random write, sync, rename or removal
 * and forgets what was not synced. Tiny memtables and segments make seals, flushes, compactions and dropped segments
 * part of every run. After each loss: what was acknowledged is there, what was not is there as a whole or not at all, and
 * nothing happened twice.
 */
import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import type { ClientRequest, ClientResponse } from "../protocol/messages.ts";
import { NO_SESSION } from "../protocol/messages.ts";
import { memberAt } from "../src/config.ts";
import { type Env, FileError, type FileSystem } from "../src/env/env.ts";
import { fromUtf8, utf8 } from "../src/lib/bytes.ts";
import { type Random, seededRandom } from "../src/lib/prng.ts";
import { createNode, type FlotillaNode } from "../src/node.ts";
import { inlineBackground } from "./support/inline-background.ts";
import { MemoryFileSystem } from "./support/memory-fs.ts";
import { testSeed } from "./support/seed.ts";
import { VirtualClock } from "./support/virtual-clock.ts";

const RUNS = Number(process.env.RUNS ?? 150);
const LOSSES = 4;
const KEYS = 12;
const silent = () => {};

test(`a node keeps its word through ${LOSSES} power losses, ${RUNS} times`, async () => {
  const seed = testSeed("node-power-loss");
  for (let run = 0; run < RUNS; run++) await runOnce(seed + run);
}, 3_600_000);

async function runOnce(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const expected = new Expectations();
  let disk = new MemoryFileSystem();
  for (let loss = 0; loss < LOSSES; loss++) {
    disk = await liveUntilPowerLoss(disk, random, expected, `seed ${seed}, life ${loss}`);
  }
  const node = await boot(disk, random);
  await expected.check(node, `seed ${seed}, last life`);
}

/** Boots, checks what earlier lives promised, writes until the power fails, and returns the disk as the next boot finds it. */
async function liveUntilPowerLoss(
  disk: MemoryFileSystem,
  random: Random,
  expected: Expectations,
  life: string,
) {
  let next: MemoryFileSystem | undefined;
  let operationsLeft = Number.POSITIVE_INFINITY;
  disk.onOperation = () => {
    if (operationsLeft-- > 0) return;
    next ??= disk.crash(random);
    throw new FileError("EIO", "the power failed");
  };
  const node = await boot(disk, random);
  await expected.check(node, life);
  operationsLeft = random.below(random.below(2) === 0 ? 60 : 900);
  for (let i = 0; next === undefined && i < 2000; i++) {
    for (let j = random.below(6); j >= 0; j--) expected.submit(node, random);
    await node.clock.step();
    node.clock.advance(random.below(100));
  }
  return next ?? disk.crash(random);
}

type Booted = FlotillaNode & { readonly clock: VirtualClock };

async function boot(fs: MemoryFileSystem, random: Random): Promise<Booted> {
  const clock = new VirtualClock();
  const env: Env = {
    clock,
    random,
    fs: withSlowSyncs(fs, clock, random),
    transport: {
      listen: async (host, port) => ({ host, port, close: silent }),
      connect: () => {
        throw new Error("a node alone connects to nobody");
      },
      resolve: async (host) => [host],
    },
    background: inlineBackground(fs),
    log: { debug: silent, info: silent, warn: silent, error: silent },
  };
  const id = nodeId("n1");
  const member = memberAt(id, "127.0.0.1", 7001);
  const config = {
    id,
    host: member.host,
    port: member.port,
    dataDirectory: "/data",
    members: [member],
    shards: 2,
    logLevel: "error",
  } as const;
  const node = createNode(env, config, {
    onFatal: silent,
    engine: { memtableBytes: 2048, blockBytes: 256 },
    log: { segmentBytes: 4096, cacheBytes: 1024 },
  });
  let started = false;
  const start = node.start().then(() => {
    started = true;
  });
  // A failure to start would otherwise only show as a time-out.
  await Promise.race([start, clock.until(() => started)]);
  await start;
  return Object.assign(node, { clock });
}

/** The disk, with syncs that take up to a few milliseconds, in which more arrives. */
function withSlowSyncs(fs: MemoryFileSystem, clock: VirtualClock, random: Random): FileSystem {
  return {
    exists: (path) => fs.exists(path),
    list: (directory) => fs.list(directory),
    makeDirectory: (directory) => fs.makeDirectory(directory),
    removeDirectory: (directory) => fs.removeDirectory(directory),
    rename: (from, to) => fs.rename(from, to),
    link: (from, to) => fs.link(from, to),
    remove: (path) => fs.remove(path),
    syncDirectory: (directory) => fs.syncDirectory(directory),
    syncDirectorySync: (directory) => fs.syncDirectorySync(directory),
    lock: (path) => fs.lock(path),
    lockHolder: () => undefined,
    open: (path, mode) => {
      const file = fs.open(path, mode);
      return {
        path,
        size: () => file.size(),
        read: (...place) => file.read(...place),
        write: (...place) => file.write(...place),
        truncate: (length) => file.truncate(length),
        syncNow: () => file.syncNow(),
        close: () => file.close(),
        sync: async () => {
          await new Promise<void>((resolve) => clock.timer(random.below(8), resolve));
          await file.sync();
        },
      };
    },
  };
}

/** Executes a request, stepping the clock until it is answered. */
async function ask(node: Booted, request: ClientRequest): Promise<ClientResponse> {
  let answer: ClientResponse | undefined;
  const sink = {
    reply: (_id: number, response: ClientResponse) => {
      // What is in a response is borrowed.
      answer = response.kind === "value" ? { ...response, value: response.value?.slice() } : response;
    },
  };
  for (;;) {
    answer = undefined;
    node.execute(request, sink, 1, "redirect");
    await node.clock.until(() => answer !== undefined);
    const answered = answer as unknown as ClientResponse;
    if (answered.kind !== "error" || answered.error !== "UNAVAILABLE") return answered;
    await node.clock.step();
  }
}

/** What may be read: for each register the values it may have, for each counter the bounds of its value. */
class Expectations {
  readonly #registers = new Map<string, Set<string | undefined>>();
  readonly #counters = new Map<string, { acknowledged: number; submitted: number }>();
  /** Registers with a write under way: one at a time, so that the order is known. */
  readonly #busy = new Set<string>();
  #unique = 0;

  submit(node: Booted, random: Random): void {
    const number = random.below(KEYS);
    if (random.below(2) === 0) this.#increment(node, `counter-${number}`);
    else this.#write(node, `register-${number}`, random);
  }

  async check(node: Booted, life: string): Promise<void> {
    this.#busy.clear();
    for (const [key, possible] of this.#registers) {
      const value = await this.#read(node, key);
      if (!possible.has(value))
        expect(`${life}: ${key} is ${value}`).toBe(`one of ${[...possible].join(", ")}`);
      this.#registers.set(key, new Set([value]));
    }
    for (const [key, counter] of this.#counters) {
      const value = Number((await this.#read(node, key)) ?? 0);
      if (value < counter.acknowledged || value > counter.submitted) {
        expect(`${life}: ${key} is ${value}`).toBe(
          `between ${counter.acknowledged} and ${counter.submitted}`,
        );
      }
      this.#counters.set(key, { acknowledged: value, submitted: value });
    }
  }

  #increment(node: Booted, key: string): void {
    const counter = this.#counters.get(key) ?? { acknowledged: 0, submitted: 0 };
    this.#counters.set(key, counter);
    counter.submitted++;
    const sink = {
      reply: (_id: number, response: ClientResponse) => {
        if (response.kind === "integer") counter.acknowledged++;
        else if (response.kind === "error" && response.error !== "TIMEOUT") counter.submitted--;
      },
    };
    node.execute({ kind: "increment", stamp: NO_SESSION, key: utf8(key), delta: 1n }, sink, 1, "redirect");
  }

  #write(node: Booted, key: string, random: Random): void {
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    const before = this.#registers.get(key) ?? new Set([undefined]);
    const value = random.below(4) === 0 ? undefined : `${this.#unique++}`.padEnd(random.below(200), ".");
    this.#registers.set(key, new Set([...before, value]));
    const sink = {
      reply: (_id: number, response: ClientResponse) => {
        if (response.kind === "boolean") this.#registers.set(key, new Set([value]));
        else if (response.kind === "error" && response.error !== "TIMEOUT") this.#registers.set(key, before);
        this.#busy.delete(key);
      },
    };
    const stamp = NO_SESSION;
    const request: ClientRequest =
      value === undefined
        ? { kind: "delete", stamp, key: utf8(key) }
        : { kind: "put", stamp, key: utf8(key), value: utf8(value), condition: "always" };
    node.execute(request, sink, 1, "redirect");
  }

  async #read(node: Booted, key: string): Promise<string | undefined> {
    const response = await ask(node, { kind: "get", key: utf8(key), consistency: "linearizable" });
    if (response.kind !== "value") throw new Error(`a read was answered with ${JSON.stringify(response)}`);
    return response.value && fromUtf8(response.value);
  }
}
