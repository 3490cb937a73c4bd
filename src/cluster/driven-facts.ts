/** The system group's facts as placement looks at them: with what was heard of the nodes, and how much there is to move. */
import type { NodeLoad } from "../../protocol/gossip-messages.ts";
import type { GossipView } from "../../protocol/gossip-view.ts";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import type { MoveOutlook, PlacementStatus } from "../../protocol/messages.ts";
import type { Configuration } from "../../protocol/peer-messages.ts";
import type { Clock, Log } from "../env/env.ts";
import { parseAddress } from "../lib/address.ts";
import type { RingNode } from "../placement/failure-domains.ts";
import { type MoveLimits, type MoveUnderWay, type PlanNode, reportOf } from "../placement/plan.ts";
import { placeShards, ringOwnership } from "../placement/ring.ts";
import { NO_MEMBERS } from "../raft/configuration.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import {
  isNamed,
  type Settings,
  type SystemCommand,
  type SystemFacts,
  weightOf,
} from "../shard/system-facts.ts";
import { encodeSystemCommand } from "../shard/system-machine.ts";
import type { Membership, PlacedNode } from "./membership.ts";
import { type DrivenFacts, PlacementDriver } from "./placement-driver.ts";

export interface FactSources {
  /** What was heard of the nodes; its times are on the clock of `nowMs`. */
  readonly heard: Pick<GossipView, "stateOf" | "deadSinceMs"> & {
    loadOf(node: NodeId): Pick<NodeLoad, "shards" | "dataBytes"> | undefined;
  };
  readonly nowMs: number;
  /** After how long a silence a node's replicas are made elsewhere. */
  readonly lostAfterMs: number;
}

/** Placement on one node. */
export interface Placement {
  /** Drives while this node leads the system group. */
  readonly driver: PlacementDriver;
  /** What placement decides about, as far as this node knows; who votes in the system group aside. */
  view(): DrivenFacts;
  /** What is being moved and will be, as far as this node knows. */
  status(): PlacementStatus;
  /** What all of that comes to. `loadOf` knows better than gossip what nodes hold, where it knows. */
  outlook(loadOf: FactSources["heard"]["loadOf"]): MoveOutlook;
}

export function createPlacement(
  parts: {
    readonly host: Pick<ShardHost, "systemShard">;
    readonly membership: Pick<Membership, "facts">;
    readonly clock: Pick<Clock, "nowMs">;
    readonly log: Pick<Log, "info">;
    readonly limits: MoveLimits;
  } & Pick<FactSources, "heard" | "lostAfterMs">,
): Placement {
  const { host, membership, clock, log, limits } = parts;
  const propose = (command: SystemCommand) => host.systemShard.proposeRaw(encodeSystemCommand(command));
  const sources = () => ({ ...parts, nowMs: clock.nowMs() });
  const driver = new PlacementDriver({
    limits,
    nowMs: () => clock.nowMs(),
    facts: () => {
      const { systemShard } = host;
      if (!systemShard.isLeader || membership.facts.clusterId === "") return undefined;
      return drivenFacts(membership.facts, systemShard.members, sources());
    },
    proposeReplicas: (changes) => propose({ kind: "wanted", changes }),
    proposeSystemVoters: (voters) => propose({ kind: "systemVoters", voters }),
    tookBack: ({ shard, add: voter, remove: newcomer }) => {
      log.info("takes a change of voters back, which can't go on", { shard, voter, newcomer });
    },
  });
  return {
    driver,
    view: () => drivenFacts(membership.facts, NO_MEMBERS, sources()),
    status: () => placementStatus(membership.facts, sources(), limits),
    outlook: (loadOf) => {
      const { heard } = parts;
      const known = {
        stateOf: (node: NodeId) => heard.stateOf(node),
        deadSinceMs: (node: NodeId) => heard.deadSinceMs(node),
        loadOf: (node: NodeId) => loadOf(node) ?? heard.loadOf(node),
      };
      return moveOutlook(membership.facts, { ...sources(), heard: known }, limits);
    },
  };
}

/** What is being moved and will be, for people to look at: from the facts alone, so that any node can tell. */
export function placementStatus(
  facts: SystemFacts,
  sources: FactSources,
  limits: MoveLimits,
): PlacementStatus {
  const driven = drivenFacts(facts, NO_MEMBERS, sources);
  const { underWay, toCome, estimate } = reportOf(driven, limits);
  const members = driven.nodes.filter(({ isLeaving }) => !isLeaving);
  const owned = ringOwnership(members, facts.settings.virtualNodes);
  const told = ({ shard, add, remove, bytes }: MoveUnderWay, reason: string | null) => {
    return { shard, add: add ?? null, remove: remove ?? null, bytes, reason };
  };
  return {
    nodes: driven.nodes.map(({ id }) => ({ id, state: facts.nodes[id]!.state, ring: owned.get(id) ?? 0 })),
    underWay: underWay.map((move) => told(move, null)),
    toCome: toCome.map((move) => told(move, move.reason)),
    bytes: estimate.bytes,
    seconds: estimate.seconds,
  };
}

/** The same in four numbers. */
export function moveOutlook(facts: SystemFacts, sources: FactSources, limits: MoveLimits): MoveOutlook {
  const { underWay, toCome, estimate } = reportOf(drivenFacts(facts, NO_MEMBERS, sources), limits);
  return {
    ...{ underWay: underWay.length, toCome: toCome.length },
    ...{ bytes: estimate.bytes, seconds: estimate.seconds },
  };
}

/** Where a node is on the ring: nodes without labels are on the hosts that their addresses name. */
export function ringNode({ id, address, labels }: PlacedNode): RingNode {
  const host = labels.host ?? parseAddress(address)?.host ?? id;
  return { id, host, zone: labels.zone ?? "", weight: weightOf(labels) ?? 1 };
}

/** The replica sets that a cluster of `nodes` begins with. */
export function firstSets(nodes: readonly PlacedNode[], settings: Settings): readonly (readonly NodeId[])[] {
  return placeShards(settings.shards, nodes.map(ringNode), settings);
}

/** What placement decides about. `system`: the members of the system group. */
export function drivenFacts(
  { version, nodes, shards, settings, systemVoters }: SystemFacts,
  system: Configuration,
  sources: FactSources,
): DrivenFacts {
  const ids = Object.keys(nodes).map(nodeId);
  // Of those that were removed, the ones that have nothing any more are nobody's concern.
  const isRemoved = (id: NodeId) => nodes[id]!.state === "removed";
  const isHeld = (id: NodeId) => systemVoters.includes(id) || shards.some((set) => isNamed(set, id));
  const concerned = ids.filter((id) => !isRemoved(id) || isHeld(id));
  const bytes = new Map(concerned.map((id) => [id, bytesOfReplica(id, sources)]));
  return {
    version,
    nodes: concerned.map((id) => ({
      ...ringNode({ id, ...nodes[id]! }),
      isLeaving: nodes[id]!.state !== "member",
      replacement: nodes[id]!.successor === "" ? undefined : nodes[id]!.successor,
      health: healthOf(id, sources),
    })),
    shards: shards.map(({ wanted, copies, actual, version }) => {
      return {
        wanted,
        copies,
        actual,
        version,
        bytes: Math.max(0, ...actual.voters.map((id) => bytes.get(id) ?? 0)),
      };
    }),
    ring: settings,
    systemVoters,
    systemMembers: system,
  };
}

/** Who is suspected counts as up: it may contradict yet, and often does. */
function healthOf(id: NodeId, { heard, nowMs, lostAfterMs }: FactSources): PlanNode["health"] {
  const state = heard.stateOf(id);
  if (state === "alive" || state === "suspect") return "up";
  const sinceMs = heard.deadSinceMs(id);
  return sinceMs !== undefined && nowMs - sinceMs >= lostAfterMs ? "lost" : "down";
}

/** What a replica on the node takes on average: nodes tell how much they have, not how it is spread. */
function bytesOfReplica(id: NodeId, { heard }: FactSources): number {
  const load = heard.loadOf(id);
  return load === undefined || load.shards === 0 ? 0 : Math.round(load.dataBytes / load.shards);
}
