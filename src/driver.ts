/**
 * Who shall hold which shard, now that the nodes are what they are: what the system group's leader proposes. The ring says
 * where things belong; few shards change at a time, and only such as have come to rest.
 */
import type { NodeId } from "../protocol/ids.ts";
import { nodeId } from "../protocol/ids.ts";
import { parseAddress } from "./lib/address.ts";
import type { PlacedNode } from "./membership.ts";
import type { RingNode } from "./placement/failure-domains.ts";
import { placeShards } from "./placement/ring.ts";
import type { ReplicaSet, Settings, SystemCommand, SystemFacts, WantedChange } from "./shard/system-facts.ts";
import { SYSTEM_VOTERS_MAX } from "./shard/system-facts.ts";

/** Most shards whose replicas move at a time. */
const MOVES_MAX = 4;

/** Where a node is on the ring: nodes without labels are on the hosts that their addresses name. */
export function ringNode({ id, address, labels }: PlacedNode): RingNode {
  return { id, host: labels.host ?? parseAddress(address)?.host ?? id, zone: labels.zone ?? "", weight: 1 };
}

/** The replica sets that a cluster of `nodes` begins with. */
export function firstSets(nodes: readonly PlacedNode[], settings: Settings): readonly (readonly NodeId[])[] {
  return placeShards(settings.shards, nodes.map(ringNode), settings);
}

/** What the system group's leader should propose next. */
export function drive(facts: SystemFacts): readonly SystemCommand[] {
  if (facts.clusterId === "") return [];
  return [...nextVoters(facts), ...nextMoves(facts)];
}

function nextMoves(facts: SystemFacts): readonly SystemCommand[] {
  const { nodes, settings, shards } = facts;
  const able = Object.keys(nodes).filter((id) => nodes[id]!.state === "member");
  if (able.length === 0) return [];
  const ring = able.map((id) => ringNode({ id: nodeId(id), ...nodes[id]! }));
  const wanted = shards.map((set) => set.wanted);
  const target = placeShards(settings.shards, ring, settings, wanted);
  const changes: WantedChange[] = [];
  let moving = shards.filter((set) => !isAtRest(set)).length;
  for (const [shard, set] of shards.entries()) {
    const next = target[shard]!;
    const isSame = next.length === set.wanted.length && next.every((id) => set.wanted.includes(id));
    // What waits for a node that goes waits in vain, perhaps.
    const isUrgent = set.wanted.some((id) => nodes[id]?.state === "removed");
    if (isSame || (!isUrgent && (moving >= MOVES_MAX || !isAtRest(set)))) continue;
    moving++;
    changes.push({ shard, version: set.version, wanted: next });
  }
  return changes.length === 0 ? [] : [{ kind: "wanted", changes }];
}

/** The shard's nodes are those that are wanted. */
function isAtRest({ wanted, actual }: ReplicaSet): boolean {
  const { voters, outgoing, learners } = actual;
  if (outgoing.length > 0 || learners.length > 0 || voters.length !== wanted.length) return false;
  return wanted.every((id) => voters.includes(id));
}

function nextVoters({ nodes, systemVoters }: SystemFacts): readonly SystemCommand[] {
  const stay = systemVoters.filter((id) => nodes[id]?.state === "member");
  const others = Object.keys(nodes)
    .filter((id) => nodes[id]!.state === "member" && !stay.includes(nodeId(id)))
    .sort();
  const all = [...stay, ...others.map(nodeId)];
  const most = Math.min(all.length, SYSTEM_VOTERS_MAX);
  const voters = all.slice(0, most % 2 === 0 && most > 2 ? most - 1 : most).sort();
  return voters.join() === [...systemVoters].sort().join() ? [] : [{ kind: "systemVoters", voters }];
}
