/**
 * `bun run bench:elastic`: what it costs a cluster to grow and to lose a node while clients work. Real processes on this
 * machine, one JSON line a phase:
 *
 * `load`: two nodes get the data; `before`: clients work and nothing else happens; `third`: an empty third node comes, which
 * gets a copy of everything; `fourth`: a fourth one comes, which gets its share; `after`: nothing else happens again;
 * `death`: a node is killed, and what it held is made on the others.
 *
 * Latencies are of a closed loop of clients, half puts and half gets of keys that are there. All nodes and the clients share
 * the machine, so they say how much worse it gets by what is going on, not how good it is.
 *
 * `--mib N`: how much data; `--clients N`: how many requests are under way at a time; `--seconds N`: how long the quiet phases
 * are; `--shards N`; `--lost-after-ms N`: after how long a silent node counts as lost.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import type { ClusterStatus } from "../protocol/messages.ts";
import { type Client, connect } from "../src/client/client.ts";
import { seededRandom } from "../src/lib/prng.ts";
import { eventually } from "../test/support/eventually.ts";
import { freePorts } from "../test/support/free-port.ts";
import { NodeProcess } from "../test/support/node-process.ts";

const given = new Command("bench:elastic")
  .option("--mib <n>", "how much data", "1024")
  .option("--clients <n>", "requests under way at a time", "16")
  .option("--seconds <n>", "how long the quiet phases are", "10")
  .option("--shards <n>", "shards of the cluster", "32")
  .option("--lost-after-ms <n>", "when a silent node counts as lost", "3000")
  .parse()
  .opts();
const [mib, clients, seconds, shards, lostAfterMs] = [
  given.mib,
  given.clients,
  given.seconds,
  given.shards,
  given.lostAfterMs,
].map(Number) as [number, number, number, number, number];

const VALUE_BYTES = 1000;
const REPLICAS = 3;
const KEYS = Math.ceil((mib * 1024 * 1024) / VALUE_BYTES);
/** How long any phase may take. */
const PHASE_MS_MAX = 1_800_000;
const LOADERS = 128;
const random = seededRandom(1);
/** Values that no compression makes smaller. */
const NOISE = Uint8Array.from({ length: 64 * VALUE_BYTES }, () => random.below(256));

const directory = mkdtempSync(join(tmpdir(), "flotilla-elastic-"));
const ports = freePorts(4);
const nodes = ports.map((port, index) => {
  const founders = ports.slice(0, 2).map((at, other) => `n${other + 1}=127.0.0.1:${at}`);
  const place =
    index < 2
      ? ["--peers", founders.join(","), "--shards", String(shards)]
      : ["--join", `127.0.0.1:${ports[0]}`];
  const data = ["--host", "127.0.0.1", "--data", join(directory, `n${index + 1}`)];
  return new NodeProcess(`n${index + 1}`, port, [...data, ...place, "--lost-after-ms", String(lostAfterMs)]);
});

function keyOf(number: number): string {
  return `key:${String(number).padStart(9, "0")}`;
}

function someValue(number: number): Uint8Array {
  const at = (number * 7919) % (NOISE.length - VALUE_BYTES);
  return NOISE.subarray(at, at + VALUE_BYTES);
}

/** Clients that work until they are told to stop. */
class Load {
  #latencies: number[] = [];
  #errors = 0;
  #isOver = false;
  readonly #loops: readonly Promise<void>[];

  constructor(client: Client) {
    this.#loops = Array.from({ length: clients }, () => this.#loop(client));
  }

  /** What there was since the last call. */
  take(): { p50Ms: number; p99Ms: number; maxMs: number; requests: number; errors: number } {
    const sorted = Float64Array.from(this.#latencies).sort();
    const at = (share: number) => round(sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN);
    const figures = { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
    const taken = { ...figures, requests: sorted.length, errors: this.#errors };
    this.#latencies = [];
    this.#errors = 0;
    return taken;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #loop(client: Client): Promise<void> {
    while (!this.#isOver) {
      const number = random.below(KEYS);
      const sinceMs = performance.now();
      try {
        if (random.below(2) === 0) await client.get(keyOf(number));
        else await client.put(keyOf(number), someValue(number));
        this.#latencies.push(performance.now() - sinceMs);
      } catch {
        this.#errors++;
      }
    }
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function tell(phase: string, figures: object): void {
  console.log(JSON.stringify({ phase, ...figures }));
}

/** How many voters on `alive` each shard has, by its leader; `undefined` while a change is under way. */
function votersOn(status: ClusterStatus, alive: readonly string[]): readonly number[] | undefined {
  const led = status.nodes
    .flatMap((node) => node.status?.shards ?? [])
    .filter(({ role, shard }) => role === "leader" && shard >= 0);
  const isSettled = led.every(({ learners, outgoing }) => learners.length + outgoing.length === 0);
  if (!isSettled || led.length !== shards) return undefined;
  return led.map(({ voters }) => voters.filter((id) => alive.includes(id)).length);
}

/** Waits until every shard has as many voters on `alive` as it should, and nothing is on its way; the milliseconds. */
async function untilWhole(client: Client, alive: readonly string[], sinceMs: number): Promise<number> {
  const size = Math.min(REPLICAS, alive.length);
  await eventually(`every shard on ${size} of ${alive}`, PHASE_MS_MAX, async () => {
    const status = await client.status();
    if (status.moves.length > 0) return false;
    return votersOn(status, alive)?.every((count) => count === size) === true;
  });
  return performance.now() - sinceMs;
}

async function replicasOn(client: Client, node: string): Promise<number> {
  const { nodes: all } = await client.status();
  const own = all.find(({ id }) => id === node)?.status;
  return own?.shards.filter(({ shard }) => shard >= 0).length ?? 0;
}

async function main(): Promise<void> {
  const [first, second, third, fourth] = nodes as [NodeProcess, NodeProcess, NodeProcess, NodeProcess];
  await Promise.all([first.start(), second.start()]);
  const addresses = [first.address, second.address];
  const client = await connect({ addresses, requestTimeoutMs: 20_000 });

  let sinceMs = performance.now();
  let next = 0;
  const loader = async () => {
    for (let number = next++; number < KEYS; number = next++)
      await client.put(keyOf(number), someValue(number));
  };
  await Promise.all(Array.from({ length: LOADERS }, loader));
  tell("load", { mib, keys: KEYS, seconds: round((performance.now() - sinceMs) / 1000) });

  const load = new Load(client);
  await Bun.sleep(seconds * 1000);
  tell("before", load.take());

  sinceMs = performance.now();
  await third.start();
  let tookMs = await untilWhole(client, ["n1", "n2", "n3"], sinceMs);
  tell("third", { seconds: round(tookMs / 1000), mib, ...load.take() });

  sinceMs = performance.now();
  await fourth.start();
  // It holds nothing at first, and every shard is whole: what is waited for first is that it holds something.
  await eventually("the fourth node holds something", PHASE_MS_MAX, async () => {
    return (await replicasOn(client, "n4")) > 0;
  });
  await eventually("the fourth node has its share", PHASE_MS_MAX, async () => {
    return (await client.rebalance({ dryRun: true })).toCome.length === 0;
  });
  tookMs = await untilWhole(client, ["n1", "n2", "n3", "n4"], sinceMs);
  const moved = await replicasOn(client, "n4");
  const ideal = (shards * REPLICAS) / 4;
  tell("fourth", {
    seconds: round(tookMs / 1000),
    ...{ movedReplicas: moved, idealReplicas: ideal, movedMib: round((mib * moved) / shards) },
    ...load.take(),
  });

  const { requests, redirected } = client.counts;
  await Bun.sleep(seconds * 1000);
  const routed = client.counts.requests - requests;
  const redirects = { routed, redirected: client.counts.redirected - redirected };
  tell("after", { ...load.take(), ...redirects });

  sinceMs = performance.now();
  await second.kill("SIGKILL");
  tookMs = await untilWhole(client, ["n1", "n3", "n4"], sinceMs);
  const held = { lostAfterMs, seconds: round(tookMs / 1000) };
  tell("death", { ...held, ...load.take() });
  await load.stop();
  client.close();
}

try {
  await main();
} finally {
  await Promise.allSettled(nodes.map((node) => node.kill("SIGKILL")));
  rmSync(directory, { recursive: true, force: true });
}
