/**
 * A group under everything that may happen to it, chosen by a seed: messages lost, late, twice and out of order, links
 * cut one way or both, disks that sync late, nodes that die with what they had not synced. The checker looks after every
 * step; then the faults end, and the group has to work again.
 *
 * `RAFT_SEED=n bun test src/raft/random-cluster.test.ts` runs one seed, `RAFT_SEEDS=n` the first n.
 */
import { describe, expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import { Cluster, type Node } from "./testing/cluster.ts";
import type { RaftStatus } from "./types.ts";

const ELECTION_TICKS_MAX = 10;
const STEPS = 1500;
const SEEDS = Number(process.env.RAFT_SEEDS ?? 4000);

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)]!;
}

/** How likely each thing is, different in every run so that some runs are calm and some are hell. */
interface Weather {
  readonly dropPercent: number;
  readonly repeatPercent: number;
  readonly reorder: boolean;
  readonly crashPermille: number;
  readonly cutPermille: number;
  readonly syncPercent: number;
  readonly deliverPercent: number;
  /** Chance that a core's Output is fetched right after a call, rather than after some more. */
  readonly settlePercent: number;
}

function drawWeather(random: Random): Weather {
  return {
    dropPercent: pick(random, [0, 0, 5, 30]),
    repeatPercent: pick(random, [0, 5, 20]),
    reorder: random.below(2) === 0,
    crashPermille: pick(random, [0, 4, 15]),
    cutPermille: pick(random, [0, 5, 20]),
    syncPercent: pick(random, [10, 40, 90]),
    deliverPercent: pick(random, [20, 60, 100]),
    settlePercent: pick(random, [30, 90, 100]),
  };
}

function drawCluster(random: Random): Cluster {
  return new Cluster(pick(random, [1, 2, 3, 3, 3, 5]), {
    electionTicks: pick(random, [3, ELECTION_TICKS_MAX]),
    heartbeatTicks: pick(random, [1, 2]),
    appendBytesMax: pick(random, [1, 20, 1000]),
    inflightAppendsMax: pick(random, [1, 4, 64]),
    inflightBytesMax: pick(random, [1, 50, 10_000]),
    random,
  });
}

function deliverOne(cluster: Cluster, random: Random, weather: Weather): Node | undefined {
  if (cluster.network.length === 0) return undefined;
  const at = weather.reorder ? random.below(cluster.network.length) : 0;
  const message = cluster.network[at]!;
  if (random.below(100) >= weather.repeatPercent) cluster.network.splice(at, 1);
  if (random.below(100) < weather.dropPercent) return undefined;
  cluster.deliver(message);
  return cluster.node(message.to);
}

function crashOrRestart(cluster: Cluster, random: Random): void {
  const node = pick(random, cluster.nodes);
  if (node.core === undefined) cluster.start(node);
  else cluster.crash(node, random.below(node.disk.pending + 1));
}

function changeLinks(cluster: Cluster, random: Random): void {
  if (random.below(3) === 0) {
    cluster.heal();
    return;
  }
  const one = pick(random, cluster.nodes).id;
  const isolate = random.below(2) === 0;
  const oneWay = random.below(3) === 0;
  const others = isolate ? cluster.nodes.map(({ id }) => id) : [pick(random, cluster.nodes).id];
  for (const other of others) {
    cluster.cut(one, other);
    if (!oneWay) cluster.cut(other, one);
  }
}

/** One thing happens. */
function step(cluster: Cluster, random: Random, weather: Weather, count: number): void {
  if (random.below(1000) < weather.crashPermille) crashOrRestart(cluster, random);
  if (random.below(1000) < weather.cutPermille) changeLinks(cluster, random);
  const node = pick(random, cluster.nodes);
  let touched: Node | undefined = node;
  const choice = random.below(100);
  if (choice < 45) {
    touched = random.below(100) < weather.deliverPercent ? deliverOne(cluster, random, weather) : undefined;
  } else if (choice < 60) {
    if (random.below(100) < weather.syncPercent) cluster.sync(node, random.below(10) === 0);
  } else if (choice < 78) node.core?.tick();
  else if (choice < 92) {
    touched = cluster.leader;
    touched?.core?.propose(utf8(`${count}`.padEnd(random.below(30), ".")));
  } else if (choice < 97) {
    touched = random.below(2) === 0 ? cluster.leader : node;
    if (touched !== undefined) cluster.read(touched);
  } else if (choice === 97) node.core?.transferLeadership(pick(random, cluster.nodes).id);
  else if (choice === 98) node.core?.unreachable(pick(random, cluster.nodes).id);
  else if (random.below(2) === 0) node.core?.campaign();
  else if (random.below(4) === 0) cluster.compact(random);
  if (touched !== undefined && random.below(100) < weather.settlePercent) cluster.settle(touched);
}

/** The faults are over: in ten election timeouts the group finds a leader, and then one log. */
function recover(cluster: Cluster): void {
  cluster.heal();
  for (const node of cluster.nodes) if (node.core === undefined) cluster.start(node);
  for (let round = 0; round < 10 * ELECTION_TICKS_MAX; round++) cluster.calmRound();
  const leader = cluster.leader;
  if (leader?.core === undefined) throw new Error("liveness: no leader after ten election timeouts");
  const index = leader.core.propose(utf8("after the storm"));
  if (index === undefined) throw new Error("liveness: the leader takes no proposals");
  const granted = leader.grants;
  cluster.read(leader);
  cluster.settle(leader);
  for (let round = 0; round < 5 * ELECTION_TICKS_MAX; round++) cluster.calmRound();
  if (leader.grants === granted) throw new Error("liveness: a read was not granted");
  for (const { id, disk } of cluster.nodes) {
    if (cluster.checker.applied(id) !== index) {
      throw new Error(`liveness: ${id} applied ${cluster.checker.applied(id)} of ${index}`);
    }
    if (disk.durableLog.lastIndex !== index) throw new Error(`liveness: the log of ${id} differs`);
  }
}

/** What a run came to: whether anything happened at all, and where it ended. */
interface Result {
  readonly commit: number;
  readonly grants: number;
  readonly end: readonly RaftStatus[];
}

function run(seed: number): Result {
  const random = seededRandom(seed);
  const cluster = drawCluster(random);
  const weather = drawWeather(random);
  try {
    for (let count = 0; count < STEPS; count++) step(cluster, random, weather, count);
    recover(cluster);
  } catch (error) {
    const command = `RAFT_SEED=${seed} bun test src/raft/random-cluster.test.ts`;
    throw new Error(`seed ${seed}: ${(error as Error).message} (${command})`, { cause: error });
  }
  return {
    commit: cluster.checker.commit,
    grants: cluster.nodes.reduce((sum, node) => sum + node.grants, 0),
    end: cluster.nodes.map(({ core }) => core!.status()),
  };
}

describe("a group under random faults", () => {
  const only = process.env.RAFT_SEED;
  if (only !== undefined) {
    test(`seed ${only}`, () => void run(Number(only)));
    return;
  }
  test(`keeps its promises for ${SEEDS} seeds`, () => {
    let commit = 0;
    let grants = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const result = run(seed);
      commit += result.commit;
      grants += result.grants;
    }
    // A storm in which nothing was ever done would prove nothing.
    expect(commit).toBeGreaterThan(SEEDS * 20);
    expect(grants).toBeGreaterThan(SEEDS * 2);
  }, 60_000);

  test("the same seed does the same", () => {
    expect(run(7)).toEqual(run(7));
  });
});
