/**
 * The whole life of an elastic cluster, in real processes: it grows from one node to three and to five, and shrinks to three
 * others, and in the middle of each of these steps' moves a node is killed. All the while the bundled client works, and what it
 * saw is judged; and so do two cluster clients of Redis, which route by themselves.
 */
import { expect, test } from "bun:test";
import { Cluster } from "ioredis";
import type { ClusterStatus } from "../../protocol/messages.ts";
import type { Client } from "../../src/client/client.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { testSeed } from "../support/seed.ts";
import { startWorkload } from "../support/workload.ts";

const SEED = testSeed("elastic");
/** More than a node gets at a time: while some shards move others wait. */
const SHARDS = 16;
const REPLICAS = 3;
const CLIENTS = 4;
/** Copies are made one after the other, as if they were long. */
const FLAGS = ["--redirect", "moved", "--move-mib-per-second", "1"] as const;
/** What each shard holds of other data: some of the bytes that a second may take. */
const BALLAST_KEYS = 16;
const BALLAST = new Uint8Array(8192);
const CHANGE_MS_MAX = 60_000;
type Newcomers = [NodeProcess, NodeProcess, NodeProcess, NodeProcess];

/** What `redis-cli` has no option for. */
const COMMAND_MS_MAX = 10_000;
/** How often each client has to get through all of its keys before it counts as working. */
const ROUNDS = 3;

test("1 → 3 → 5 → 3 nodes, a node killed in the middle of each step's moves, and every client goes on", async () => {
  await withCluster({ nodes: 1, shards: SHARDS, flags: FLAGS }, async (cluster) => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.connect()));
    const workload = startWorkload(clients, { seed: SEED });
    const operator = await cluster.connect();
    const [n2, n3, n4, n5] = ["n2", "n3", "n4", "n5"].map((id) => cluster.joiner(id, ...FLAGS)) as Newcomers;
    // It is told of all nodes that there will be: when it has lost all that it knew it begins with these again.
    const redis = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
    // An error without a listener would be printed; each command tells its own.
    redis.on("error", () => {});
    const counters = [new Counter(redis, keyOfEachShard(SHARDS, "ioredis"))];
    if (Bun.which("redis-cli") !== null) {
      counters.push(new Counter(redisCli(cluster), keyOfEachShard(4, "cli")));
    }
    const ballast = Array.from({ length: BALLAST_KEYS }, (_, i) => keyOfEachShard(SHARDS, `ballast${i}-`));
    await Promise.all(ballast.flat().map((key) => operator.put(key, BALLAST)));
    const untilAllWork = async (when: string): Promise<void> => {
      const goals = counters.map(({ rounds }) => rounds + ROUNDS);
      const acknowledged = workload.acknowledged + ROUNDS * SHARDS;
      await eventually(`every client works ${when}`, CHANGE_MS_MAX, () => {
        if (counters.some(({ problem }) => problem !== undefined)) return true;
        const late = counters.filter(({ rounds }, i) => rounds < goals[i]!).map(({ waitsFor }) => waitsFor);
        if (workload.acknowledged < acknowledged) late.push("the bundled client's writes");
        if (late.length > 0) throw new Error(`waits for ${late.join(" and ")}`);
        return true;
      });
      for (const { problem } of counters) if (problem !== undefined) throw problem;
    };

    // 1 → 3. Who dies is one that gets its copies; shards of two nodes wait until it is back.
    await Promise.all([n2.start(), n3.start()]);
    await inTheMiddle(cluster, operator, ["n2"], () => "n2");
    await n2.start();
    await untilOn(cluster, ["n1", "n2", "n3"]);
    await untilAllWork("on three nodes");

    // 3 → 5. Who dies leads shards that move, and the system group: it decides what is moved, and sends the copies.
    await Promise.all([n4.start(), n5.start()]);
    const driver = await inTheMiddle(cluster, operator, ["n4", "n5"], (status) => {
      const leader = leaderOfSystem(status);
      return status.moves.some(({ shard }) => status.shards[shard]?.leader === leader) ? leader : undefined;
    });
    await untilAllWork(`without ${driver}`);
    await cluster.node(driver).start();
    await untilOn(cluster, ["n1", "n2", "n3", "n4", "n5"]);
    await untilAllWork("on five nodes");

    // 5 → 3. Who dies is one that leaves, and stays dead: what it had has to come from the others.
    await operator.drainNode("n2");
    await operator.removeNode("n1");
    await inTheMiddle(cluster, operator, ["n3", "n4", "n5"], () => "n1");
    await untilAllWork("without n1");
    await untilOn(cluster, ["n3", "n4", "n5"]);
    await untilAllWork("while n2 holds nothing");
    await operator.removeNode("n2");
    await eventually("n2 ends by itself", CHANGE_MS_MAX, () =>
      n2.lines.includes("--- n2 ended: exit code 1"),
    );
    await untilAllWork("on three others");

    for (const counter of counters) await counter.stop();
    redis.disconnect();
    await workload.stop();
    await workload.readAll(operator);
    assertLinearizable(workload.history);
  });
}, 240_000);

/**
 * Waits until some shards have come to one of `newcomers` and others are on their way, kills whom `choose` names then, and has
 * it told that there was more to move when it was dead.
 */
async function inTheMiddle(
  cluster: TestCluster,
  operator: Client,
  newcomers: readonly string[],
  choose: (status: ClusterStatus) => string | undefined,
): Promise<string> {
  const before = votesOf(await cluster.status(), newcomers);
  const victim = await eventually(`shards are moving to ${newcomers}`, CHANGE_MS_MAX, async () => {
    const status = await cluster.status();
    const isMoving = status.moves.some(({ joining }) => joining.some((node) => newcomers.includes(node)));
    const isMiddle = isMoving && status.outlook.toCome > 0;
    return isMiddle && votesOf(status, newcomers) > before ? choose(status) : undefined;
  });
  await cluster.node(victim).kill("SIGKILL");
  const { underWay, toCome } = await operator.rebalance({ dryRun: true });
  const left = [...underWay, ...toCome].filter(({ add }) => add !== null && newcomers.includes(add));
  expect(left.length).toBeGreaterThan(0);
  return victim;
}

/** In how many shards `nodes` have a vote, taken together, as far as those that lead them say. */
function votesOf(status: ClusterStatus, nodes: readonly string[]): number {
  const led = status.nodes.flatMap((node) => node.status?.shards ?? []).filter(isLedShard);
  return led.flatMap(({ voters }) => voters.filter((id) => nodes.includes(id))).length;
}

const isLedShard = ({ role, shard }: { readonly role: string; readonly shard: number }): boolean =>
  role === "leader" && shard >= 0;

function leaderOfSystem({ nodes }: ClusterStatus): string | undefined {
  return nodes.find(({ status }) => status?.shards.some(({ shard, role }) => shard < 0 && role === "leader"))
    ?.id;
}

/** Waits until every shard is on as many of `nodes` as it should be, and on nobody else. */
async function untilOn(cluster: TestCluster, nodes: readonly string[]): Promise<void> {
  await eventually(`the shards are on ${nodes}`, CHANGE_MS_MAX, async () => {
    const status = await cluster.status();
    const led = status.nodes.flatMap((node) => node.status?.shards ?? []).filter(isLedShard);
    const fits = led.every(
      ({ voters, learners, outgoing }) =>
        voters.length === REPLICAS &&
        voters.every((id) => nodes.includes(id)) &&
        learners.length + outgoing.length === 0,
    );
    const holds = (id: string): boolean => led.some(({ voters }) => voters.includes(id as never));
    return fits && led.length === SHARDS && status.moves.length === 0 && nodes.every(holds);
  });
}

/** What a counter needs of a Redis client. */
interface RedisCommands {
  set(key: string, value: string): Promise<string | null>;
  get(key: string): Promise<string | null>;
}

/** `redis-cli -c`, started anew for every command, at the nodes that are there by turns. */
function redisCli(cluster: TestCluster): RedisCommands {
  let turn = 0;
  const run = async (...args: string[]): Promise<string> => {
    const alive = cluster.nodes.filter(({ isAlive }) => isAlive);
    const { port } = alive[turn++ % alive.length]!;
    const child = Bun.spawn(["redis-cli", "-c", "-p", String(port), ...args], {
      ...{ stdin: "ignore", stderr: "pipe" },
      timeout: COMMAND_MS_MAX,
    });
    const [answer, complaint] = await Promise.all([child.stdout, child.stderr].map(textOf));
    // It prints an error like a value, or says apart why it has no answer.
    if (complaint !== "" || !/^(OK|\d+)\n$/.test(answer!)) throw new Error(`${answer}${complaint}`);
    return answer!.trimEnd();
  };
  return { set: (key, value) => run("set", key, value), get: (key) => run("get", key) };
}

const textOf = (stream: ReadableStream<Uint8Array>): Promise<string> => new Response(stream).text();

/** Writes growing numbers to keys, one after the other, and reads each back. */
class Counter {
  readonly #client: RedisCommands;
  readonly #keys: readonly string[];
  /** By key: the last number that was acknowledged. */
  readonly #acknowledged = new Map<string, number>();
  readonly #done: Promise<void>;
  #running = true;
  #problem: unknown;
  #rounds = 0;
  #waitsFor = "";

  constructor(client: RedisCommands, keys: readonly string[]) {
    this.#client = client;
    this.#keys = keys;
    this.#done = this.#run().catch((error) => {
      this.#problem = error;
    });
  }

  /** How often all keys were written and found. */
  get rounds(): number {
    return this.#rounds;
  }

  /** What went wrong that no failover explains, if anything did: it has stopped then. */
  get problem(): unknown {
    return this.#problem;
  }

  /** What it has asked for last. */
  get waitsFor(): string {
    return this.#waitsFor;
  }

  /** Looks at all keys once more. Rejects if anything that was acknowledged was not there. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
    if (this.#problem !== undefined) throw this.#problem;
    for (const key of this.#keys) await this.#check(key);
  }

  async #run(): Promise<void> {
    for (; this.#running; this.#rounds++) {
      for (const key of this.#keys) {
        const number = (this.#acknowledged.get(key) ?? 0) + 1;
        expect(await this.#answer(`SET ${key}`, () => this.#client.set(key, String(number)))).toBe("OK");
        this.#acknowledged.set(key, number);
        await this.#check(key);
      }
    }
  }

  async #check(key: string): Promise<void> {
    const found = await this.#answer(`GET ${key}`, () => this.#client.get(key));
    expect(`${key} is ${found}`).toBe(`${key} is ${this.#acknowledged.get(key)}`);
  }

  /** What an application does while nodes die and move: it asks again after errors that say that it may. */
  async #answer(what: string, ask: () => Promise<string | null>): Promise<string | null> {
    this.#waitsFor = what;
    const { answer } = await eventually(`an answer to ${what}`, CHANGE_MS_MAX, async () => {
      try {
        return { answer: await ask() };
      } catch (error) {
        if (PASSING.test(String(error))) throw error;
        return { answer: `${what}: ${error}` };
      }
    });
    return answer;
  }
}

/** Errors that a node gives while leaders change, and what a client says when a node dies under it or is not there yet. */
const PASSING =
  /\b(CLUSTERDOWN|TRYAGAIN|TIMEOUT) |Connection (refused|reset|is closed)|closed the connection|Failed to refresh slots/;
