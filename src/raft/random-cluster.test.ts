/**
 * A group under everything that may happen to it, chosen by a seed: messages lost, late, twice and out of order, links
 * cut one way or both, disks that sync late, nodes that die with what they had not synced, members that come and go, logs
 * that are compacted and snapshots that get lost. The checker looks after every step; then the faults end, and the group
 * has to work again.
 *
 * Time passes for all alike: between two ticks of a node there is never less of it than a tick, but there may be much
 * more. That is what leases rest on.
 *
 * `RAFT_SEED=n bun test src/raft/random-cluster.test.ts` runs one seed, `RAFT_SEEDS=n` the first n.
 */
import { describe, expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import { isJoint } from "./configuration.ts";
import { Cluster, type Node } from "./testing/cluster.ts";
import type { RaftStatus } from "./types.ts";

const ELECTION_TICKS_MAX = 10;
const STEPS = 2000;
/** Units of time in a tick. */
const TICK = 10;
const SEEDS = Number(process.env.RAFT_SEEDS ?? 1500);
const TEST_MS_MAX = Math.max(60_000, SEEDS * 40);

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
  readonly changePermille: number;
  readonly compactPermille: number;
  readonly syncPercent: number;
  readonly deliverPercent: number;
  /** Messages that arrive one after the other when it is a message's turn. */
  readonly messagesAtOnce: number;
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
    changePermille: pick(random, [0, 20, 100]),
    compactPermille: pick(random, [5, 5, 60]),
    syncPercent: pick(random, [10, 40, 90]),
    deliverPercent: pick(random, [20, 60, 100]),
    messagesAtOnce: pick(random, [1, 1, 8]),
    settlePercent: pick(random, [30, 90, 100]),
  };
}

function drawCluster(random: Random): Cluster {
  const electionTicks = pick(random, [3, ELECTION_TICKS_MAX]);
  const config = {
    electionTicks,
    heartbeatTicks: pick(random, [1, 2]),
    appendBytesMax: pick(random, [1, 20, 1000]),
    inflightAppendsMax: pick(random, [1, 4, 64]),
    inflightBytesMax: pick(random, [1, 50, 10_000]),
    lease: pick(random, [0, 0, (electionTicks - 1) * TICK]),
    random,
  };
  const voters = pick(random, [1, 2, 3, 3, 3, 5]);
  const cluster = new Cluster(voters + random.below(3), config, voters);
  if (random.below(2) === 0) {
    // There is a leader when the storm begins.
    cluster.nodes[0]!.core!.campaign();
    cluster.settle(cluster.nodes[0]!);
    cluster.quiesce();
  }
  return cluster;
}

/** Time passes for one node, if its last tick is long enough ago. */
function tick(cluster: Cluster, node: Node): void {
  if (cluster.now < node.nextTickAt) return;
  node.nextTickAt = cluster.now + TICK;
  node.core?.tick();
}

/** Asks the leader for a change of members, a sensible one or not. */
function changeMembers(cluster: Cluster, random: Random): Node | undefined {
  const leader = cluster.leader;
  if (leader?.core === undefined) return undefined;
  const { voters, learners } = leader.core.membership.configuration;
  const node = pick(random, cluster.nodes).id;
  const without = voters.filter((voter) => voter !== node);
  const learnersWithout = learners.filter((learner) => learner !== node);
  switch (random.below(5)) {
    case 0:
      if (!voters.includes(node)) leader.core.changeMembers({ voters, learners: [...learnersWithout, node] });
      break;
    case 1:
      leader.core.changeMembers({ voters: [...voters, ...learners], learners: [] });
      break;
    case 2:
      leader.core.changeMembers({ voters: without, learners: learnersWithout });
      break;
    case 3:
      leader.core.changeMembers({ voters: without, learners: [...learnersWithout, node] });
      break;
    default:
      leader.core.changeMembers({ voters: [...without, ...learnersWithout], learners: [node] });
  }
  return leader;
}

/** A snapshot arrives or is lost. */
function endStream(cluster: Cluster, random: Random, weather: Weather): void {
  const [stream] = cluster.streams.splice(random.below(cluster.streams.length), 1);
  if (stream === undefined) return;
  cluster.endStream(stream, random.below(100) >= weather.dropPercent);
  cluster.settle(cluster.node(stream.snapshot.from));
  cluster.settle(cluster.node(stream.to));
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
  if (random.below(1000) < weather.compactPermille) cluster.compact(random);
  if (cluster.streams.length > 0 && random.below(5) === 0) endStream(cluster, random, weather);
  cluster.now += random.below(4);
  const node = pick(random, cluster.nodes);
  let touched: Node | undefined = node;
  const choice = random.below(100);
  if (choice < 45) {
    for (let more = weather.messagesAtOnce - 1; more > 0; more--) {
      const receiver = deliverOne(cluster, random, weather);
      if (receiver !== undefined) cluster.settle(receiver);
    }
    touched = random.below(100) < weather.deliverPercent ? deliverOne(cluster, random, weather) : undefined;
  } else if (choice < 60) {
    if (random.below(100) < weather.syncPercent) cluster.sync(node, random.below(10) === 0);
  } else if (choice < 78) tick(cluster, node);
  else if (choice < 92) {
    touched = cluster.leader;
    touched?.core?.propose(utf8(`${count}`.padEnd(random.below(30), ".")));
  } else if (choice < 97) {
    touched = random.below(2) === 0 ? cluster.leader : node;
    if (touched !== undefined) cluster.read(touched);
  } else if (choice === 97) node.core?.transferLeadership(pick(random, cluster.nodes).id);
  else if (choice === 98) node.core?.unreachable(pick(random, cluster.nodes).id);
  else if (random.below(3) === 0) node.core?.campaign();
  else if (random.below(2) === 0) cluster.leader?.core?.quiesce();
  else node.core?.wake();
  if (random.below(1000) < weather.changePermille) touched = changeMembers(cluster, random);
  if (touched !== undefined && random.below(100) < weather.settlePercent) cluster.settle(touched);
}

/** The faults are over: in ten election timeouts the group finds a leader, and then one log. */
function recover(cluster: Cluster): void {
  cluster.heal();
  for (const node of cluster.nodes) {
    if (node.core === undefined) cluster.start(node);
    node.core?.wake();
  }
  const pass = (ticks: number): void => {
    for (let round = 0; round < ticks; round++) {
      cluster.now += TICK;
      cluster.calmRound();
    }
  };
  pass(10 * ELECTION_TICKS_MAX);
  const leader = cluster.leader;
  if (leader?.core === undefined) throw new Error("liveness: no leader after ten election timeouts");
  const { term, membership } = leader.core;
  if (isJoint(membership.configuration)) throw new Error("liveness: a change of members does not end");
  const index = leader.core.propose(utf8("after the storm"));
  if (index === undefined) throw new Error("liveness: the leader takes no proposals");
  const granted = leader.grants;
  cluster.read(leader);
  cluster.settle(leader);
  pass(5 * ELECTION_TICKS_MAX);
  if (leader.grants === granted) throw new Error("liveness: a read was not granted");
  if (leader.core.term !== term) throw new Error("liveness: the leader was disturbed");
  for (const { id, disk } of cluster.members) {
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
  readonly changes: number;
  readonly installs: number;
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
    changes: cluster.checker.changes,
    installs: cluster.checker.installs,
    end: cluster.nodes.map(({ core }) => core!.status()),
  };
}

describe("a group under random faults", () => {
  const only = process.env.RAFT_SEED;
  if (only !== undefined) {
    test(`seed ${only}`, () => void run(Number(only)));
    return;
  }
  test(
    `keeps its promises for ${SEEDS} seeds`,
    () => {
      let commit = 0;
      let grants = 0;
      let changes = 0;
      let installs = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const result = run(seed);
        commit += result.commit;
        grants += result.grants;
        changes += result.changes;
        installs += result.installs;
      }
      if (process.env.RAFT_VERBOSE !== undefined) console.log({ commit, grants, changes, installs });
      // A storm in which nothing was ever done would prove nothing.
      expect(commit).toBeGreaterThan(SEEDS * 20);
      expect(grants).toBeGreaterThan(SEEDS * 2);
      expect(changes).toBeGreaterThan(SEEDS / 3);
      expect(installs).toBeGreaterThan(SEEDS / 40);
    },
    TEST_MS_MAX,
  );

  test("the same seed does the same", () => {
    expect(run(7)).toEqual(run(7));
  });
});
