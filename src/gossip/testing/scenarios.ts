/**
 * What gossip promises, each as a story that throws where it does not come true. The tests tell them with many seeds, the planted
 * bugs have to make one of them throw.
 */
import { type NodeId, shardId, term } from "../../../protocol/ids.ts";
import { DEFAULT_GOSSIP, probeIntervalMs } from "../options.ts";
import { ANY_LOAD, SimulatedGossip, type SimulationOptions } from "./simulated-gossip.ts";

/** From a node's death until all others know, in milliseconds. */
export const DETECTION_MS_MAX = 3_000;
/** From the end of what kept nodes apart, or a node down, until everybody knows that everybody is there. */
export const RECOVERY_MS_MAX = 10_000;
/** Until what somebody missed has reached it by a complete exchange, in the clusters of these stories. */
const COMPARED_MS_MAX = 120_000;
const HOUR_MS = 3_600_000;

/** A cluster that has found itself. */
function settled(given: SimulationOptions): SimulatedGossip {
  const world = new SimulatedGossip(given);
  world.run(2_000 + (given.seed % 1_000));
  return world;
}

function someNode(world: SimulatedGossip, seed: number): NodeId {
  return world.nodes[seed % world.nodes.length]!;
}

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

function checkNoFalseDeath(world: SimulatedGossip): void {
  check(
    world.falseDeaths.length === 0,
    `of ${world.falseDeaths.length} false deaths: ${world.falseDeaths[0]}`,
  );
}

/** A machine loses its power: everybody knows soon, and thinks no ill of others. Returns how long it took, in milliseconds. */
export function detectsADeath(given: SimulationOptions): number {
  const world = settled(given);
  const victim = someNode(world, given.seed);
  world.kill(victim);
  const tookMs = world.until(() => world.allSay(victim, "dead"), DETECTION_MS_MAX);
  check(tookMs !== undefined, `not all know after ${DETECTION_MS_MAX} ms that ${victim} is dead`);
  checkNoFalseDeath(world);
  return tookMs;
}

/** Messages get lost for hours: nobody is ever called dead who is not, and at the end all know of all. */
export function bearsLoss(given: SimulationOptions & { readonly hours: number }): void {
  const world = settled(given);
  world.run(given.hours * HOUR_MS);
  checkNoFalseDeath(world);
  check(world.suspicions > 0, "too little was lost for a suspicion");
  world.lossPercent = 0;
  check(
    world.until(() => world.allAlive, RECOVERY_MS_MAX) !== undefined,
    "not everybody is alive to everybody",
  );
}

/** Two nodes don't hear each other, but others hear both: nobody suspects anybody. */
export function bearsABadPath(given: SimulationOptions): void {
  const world = settled(given);
  const [a, b] = world.nodes;
  world.cutPair(a!, b!);
  world.run(60_000);
  check(world.suspicions === 0, `${world.suspicions} suspicions because of one path`);
  check(world.allAlive, "not everybody is alive to everybody");
}

/** A cut into two sides, which call each other dead; after it heals all know of all, with what was new on either side. */
export function healsAPartition(given: SimulationOptions): number {
  const world = settled(given);
  const half = world.nodes.slice(0, Math.ceil(world.nodes.length / 2));
  world.cut((node) => (half.includes(node) ? 0 : 1));
  const apart = () =>
    world.nodes.every((node) =>
      world.nodes.every(
        (other) => half.includes(node) === half.includes(other) || isDead(world, node, other),
      ),
    );
  check(world.until(apart, 60_000, 100) !== undefined, "the sides do not notice each other's absence");
  const leader = world.nodes.at(-1)!;
  world.gossip(leader).noteLeader(shardId(3), term(7));
  world.run(20_000);
  world.heal();
  const knows = (node: NodeId) => world.gossip(node).leaderHintOf(shardId(3))?.leader === leader;
  const tookMs = world.until(() => world.allAlive && world.nodes.every(knows), RECOVERY_MS_MAX);
  check(tookMs !== undefined, `not all know of all ${RECOVERY_MS_MAX} ms after the partition healed`);
  checkNoFalseDeath(world);
  return tookMs;
}

const isDead = (world: SimulatedGossip, node: NodeId, other: NodeId): boolean =>
  world.gossip(node).stateOf(other) === "dead";

export type Absence = "dead" | "left" | "short";

export interface Return {
  /**
   * `dead`: everybody had noticed that the process ended; `left`: it had said so; `short`: nobody had noticed.
   */
  readonly absence: Absence;
  /** Others that are restarted at the same moment, of whom nothing can be learned. */
  readonly together?: number;
  /** It has been away before, so its incarnation is not the first one. */
  readonly again?: boolean;
  /** It tells of what it does. */
  readonly loads?: boolean;
}

/**
 * A process ends and a new one begins, which remembers nothing: it is alive to everybody, beyond the incarnation that the others
 * remember, and what it tells of itself counts for more than what its earlier lives have told.
 */
export function comesBack(given: SimulationOptions & Return): void {
  const world = settled(given);
  const node = someNode(world, given.seed);
  const all = [node, ...world.nodes.filter((other) => other !== node)];
  if (given.again ?? true) {
    endsAs(world, node, "dead", given.loads ?? true);
    returns(world, node, [node], given.loads ?? true);
  }
  endsAs(world, node, given.absence, given.loads ?? true);
  returns(world, node, all.slice(0, 1 + (given.together ?? 0)), given.loads ?? true);
  checkNoFalseDeath(world);
}

function endsAs(world: SimulatedGossip, node: NodeId, absence: Absence, loads: boolean): void {
  for (let version = 1; loads && version <= 20; version++) {
    world.gossip(node).setLoad({ ...ANY_LOAD, disk: version % 2 === 0 ? "ok" : "full" }, world.nowMs);
    world.run(200);
  }
  if (absence === "left") world.leave(node);
  else world.kill(node);
  if (absence === "short") {
    world.run(50);
    return;
  }
  const noticed = () => world.allSay(node, absence);
  check(world.until(noticed, DETECTION_MS_MAX) !== undefined, `not all know that ${node} is gone`);
}

function returns(world: SimulatedGossip, node: NodeId, starting: readonly NodeId[], loads: boolean): void {
  const { incarnation } = world.gossip(node);
  for (const one of starting) world.start(one);
  const isBack = () => world.allAlive && world.gossip(node).incarnation > incarnation;
  check(world.until(isBack, RECOVERY_MS_MAX) !== undefined, `${node} is not alive to all again`);
  if (!loads) return;
  const isBelieved = () => {
    world.gossip(node).setLoad({ ...ANY_LOAD, shards: 77 + incarnation }, world.nowMs);
    return world.nodes.every(
      (other) => other === node || world.gossip(other).loadOf(node)?.shards === 77 + incarnation,
    );
  };
  check(
    world.until(isBelieved, COMPARED_MS_MAX, 50) !== undefined,
    `what ${node} says of itself does not count`,
  );
  check(world.allAlive, `${node} was back, and is not any more`);
}

/** A process stands still for long enough to be called dead. When it goes on it accuses nobody, and is alive again. */
export function wakesUp(given: SimulationOptions): void {
  const world = settled(given);
  const node = someNode(world, given.seed);
  world.pause(node);
  check(world.until(() => world.allSay(node, "dead"), DETECTION_MS_MAX) !== undefined, "nobody noticed");
  world.run(10_000);
  const before = world.suspicions;
  world.resume(node);
  check(
    world.until(() => world.allAlive, RECOVERY_MS_MAX) !== undefined,
    `${node} is not alive to all again`,
  );
  world.run(2_000);
  check(world.suspicions === before, `${node} woke up and accused others`);
  checkNoFalseDeath(world);
}

/** One node learns something: all know after so many rounds of probes as the logarithm of their number, times three. Returns the rounds. */
export function spreads(given: SimulationOptions): number {
  const world = settled(given);
  const node = someNode(world, given.seed);
  world.gossip(node).noteLeader(shardId(5), term(3));
  const knows = (other: NodeId) => world.gossip(other).leaderHintOf(shardId(5))?.leader === node;
  const roundsMax = Math.ceil(3 * Math.log2(given.nodes + 1));
  const roundMs = probeIntervalMs(DEFAULT_GOSSIP, given.nodes);
  const tookMs = world.until(() => world.nodes.every(knows), roundsMax * roundMs);
  check(tookMs !== undefined, `not all know after ${roundsMax} rounds`);
  return tookMs / roundMs;
}

/**
 * Every shard has a new leader at once, and somebody dies: that is found as soon as ever, and all know of all leaders within
 * `msMax`. Returns how long that took.
 */
export function spreadsACrowd(
  given: SimulationOptions & { readonly shards: number; readonly msMax: number },
): number {
  const world = settled(given);
  const victim = someNode(world, given.seed);
  const leaders = world.nodes.filter((node) => node !== victim);
  for (let shard = 0; shard < given.shards; shard++) {
    world.gossip(leaders[shard % leaders.length]!).noteLeader(shardId(shard), term(1));
  }
  const startedMs = world.nowMs;
  world.run(300);
  world.kill(victim);
  check(
    world.until(() => world.allSay(victim, "dead"), DETECTION_MS_MAX) !== undefined,
    "a death was lost in the crowd",
  );
  const knowsAll = (node: NodeId) => {
    for (let shard = 0; shard < given.shards; shard++) {
      if (world.gossip(node).leaderHintOf(shardId(shard)) === undefined) return false;
    }
    return true;
  };
  const took = world.until(() => world.running.every(knowsAll), given.msMax - (world.nowMs - startedMs), 100);
  check(took !== undefined, `not all leaders are known to all after ${given.msMax} ms`);
  return world.nowMs - startedMs;
}

/** A node learns of a thousand leaders, and then of one more: that one does not wait until all have forgotten the others. */
export function takesTurns(given: SimulationOptions & { readonly msMax: number }): void {
  const world = settled(given);
  const [node, ...others] = world.nodes;
  for (let shard = 0; shard < 1023; shard++) world.gossip(node!).noteLeader(shardId(shard), term(1));
  world.run(200);
  const last = shardId(1023);
  world.gossip(node!).noteLeader(last, term(1));
  const knows = (other: NodeId) => world.gossip(other).leaderHintOf(last) !== undefined;
  check(
    world.until(() => others.every(knows), given.msMax) !== undefined,
    "the last fact did not get its turn",
  );
}
