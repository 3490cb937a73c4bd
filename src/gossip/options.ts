import { assert } from "../lib/assert.ts";

/** The times and sizes of gossip; all times in milliseconds. */
export interface GossipOptions {
  /** How often `tick` is called. A call that is much later than that means that this process stood still. */
  readonly tickMs: number;
  /** A node probes one other this often (SWIM's protocol period), half as often where there are few: rounds are short there. */
  readonly probeIntervalMs: number;
  readonly fewNodes: number;
  /** How long a probed node has to answer before others are asked to probe it, and how long those wait for it. */
  readonly probeTimeoutMs: number;
  /** From the first ping until a node that nobody got an answer from is suspected. */
  readonly probeMs: number;
  /** How many others are asked. */
  readonly helpers: number;
  /** How long a suspicion that enough nodes share lasts at least until it is a death: so long a suspect may take to contradict. */
  readonly suspicionMs: number;
  /** The same times the decimal logarithm of the number of nodes, where that is more: the contradiction has to reach them all. */
  readonly suspicionMsPerLog: number;
  /** How many times longer a suspicion lasts that nobody shares. */
  readonly suspicionFactor: number;
  /** How many further nodes have to find a suspect silent until its time is the shortest. */
  readonly confirmations: number;
  /** Most points of ill health: with n points a node waits n + 1 times as long before it blames others. */
  readonly illHealthMax: number;
  /** A node that is dead, or a stranger to this one's probes, is pinged once in this time, one of them at a time. */
  readonly deadPingMs: number;
  /** Facts about members and leaders are passed on this many times the binary logarithm of the number of nodes. */
  readonly transmissions: number;
  /** Loads are passed on so often: who misses one gets the next. */
  readonly loadTransmissions: number;
  /** Bytes of facts that ride on a ping or an ack. */
  readonly piggybackBytesMax: number;
  /** A node tells its load no more often than this, and than this for each member. */
  readonly loadMs: number;
  readonly loadMsPerNode: number;
  /** Bytes of facts in a part of a sync. */
  readonly syncBytesMax: number;
  /** Everything is compared with somebody no more often than this, and than this for each fact that there is. */
  readonly syncMs: number;
  readonly syncMsPerFact: number;
  /** The shortest time between two syncs that a node begins. */
  readonly syncPauseMs: number;
  /** Syncs that a node sends at a time; who asks for one more gets none. */
  readonly syncsMax: number;
}

export const DEFAULT_GOSSIP: GossipOptions = {
  tickMs: 50,
  probeIntervalMs: 100,
  fewNodes: 5,
  probeTimeoutMs: 200,
  probeMs: 500,
  helpers: 3,
  suspicionMs: 1_000,
  suspicionMsPerLog: 450,
  suspicionFactor: 4,
  confirmations: 3,
  illHealthMax: 8,
  deadPingMs: 1_000,
  transmissions: 3,
  loadTransmissions: 6,
  piggybackBytesMax: 1024,
  loadMs: 3_000,
  loadMsPerNode: 250,
  syncBytesMax: 16 * 1024,
  syncMs: 30_000,
  syncMsPerFact: 50,
  syncPauseMs: 1_000,
  syncsMax: 4,
};

/** Asserts the relations that the algorithm relies on. */
export function assertGossipOptions(options: GossipOptions): void {
  const { tickMs, probeIntervalMs, probeTimeoutMs, probeMs } = options;
  assert(tickMs >= 1 && tickMs <= probeIntervalMs, "a probe must be able to leave in its turn");
  assert(
    probeMs >= 2 * probeTimeoutMs + 2 * tickMs,
    "those who help must be able to say that they had no answer before the probe is over",
  );
  assert(
    options.suspicionMs >= 4 * probeTimeoutMs,
    "a suspect must be able to hear of it and to contradict, and a message or two that are lost must not keep it from that",
  );
  assert(options.suspicionFactor >= 1, "a suspicion that is not shared must not be over sooner");
  assert(options.transmissions >= 1 && options.loadTransmissions >= 1, "facts must be passed on");
  assert(options.helpers >= 0 && options.confirmations >= 0, "there are no fewer helpers than none");
  assert(options.illHealthMax >= 0, "health has a worst");
  assert(options.piggybackBytesMax >= 512, "the longest fact must fit on a ping");
  assert(options.syncBytesMax >= options.piggybackBytesMax, "a part of a sync must hold a fact");
  assert(options.syncPauseMs <= options.syncMs, "syncs must be able to come in their time");
  assert(options.syncsMax >= 1, "somebody must be answered");
}
assertGossipOptions(DEFAULT_GOSSIP);

/** How long a suspicion lasts that enough nodes share, in a cluster of so many. */
export function suspicionMs(options: GossipOptions, nodes: number): number {
  return Math.max(options.suspicionMs, options.suspicionMsPerLog * Math.log10(nodes));
}

/** How often a node of a cluster of so many probes. Two have nobody else's word, and listen as closely as many. */
export function probeIntervalMs(options: GossipOptions, nodes: number): number {
  return nodes > 2 && nodes <= options.fewNodes ? 2 * options.probeIntervalMs : options.probeIntervalMs;
}

/** How often a fact about a member or a leader is passed on by each node of a cluster of so many. */
export function transmissionsAmong(options: GossipOptions, nodes: number): number {
  return Math.ceil(options.transmissions * Math.log2(nodes + 1));
}

/** The same, `factor` times as slow: for networks and machines that need that much longer. */
export function slowedDown(options: GossipOptions, factor: number): GossipOptions {
  return {
    ...options,
    tickMs: options.tickMs * factor,
    probeIntervalMs: options.probeIntervalMs * factor,
    probeTimeoutMs: options.probeTimeoutMs * factor,
    probeMs: options.probeMs * factor,
    suspicionMs: options.suspicionMs * factor,
    suspicionMsPerLog: options.suspicionMsPerLog * factor,
    deadPingMs: options.deadPingMs * factor,
  };
}
