/** The cluster in Redis Cluster's terms: slots in ranges, nodes in lines, and their state. */
import type { NodeId } from "../../protocol/ids.ts";
import { SLOTS } from "../../protocol/limits.ts";
import type { PeerStatus, ShardPlace, ShardStatus, Topology } from "../../protocol/messages.ts";
import type { TextRoutes } from "./text-routes.ts";

/** Slots that lie together and are led and held by the same nodes. */
export interface SlotRange {
  readonly first: number;
  readonly last: number;
  /** Who takes requests for them; `null` only where nobody is known to hold them. */
  readonly leader: NodeId | null;
  /** Who else holds them. */
  readonly followers: readonly NodeId[];
}

/**
 * All slots, in order, in as few ranges as there can be. While a shard has no leader the first that holds it stands in, as
 * Redis goes on naming a master that has failed: there are clients that break when a slot has none.
 */
export function slotRanges({ shards }: Pick<Topology, "shards">): readonly SlotRange[] {
  const ranges: SlotRange[] = [];
  for (const [shard, place] of shards.entries()) {
    const last = firstSlot(shard + 1, shards.length) - 1;
    const before = ranges.at(-1);
    const leader = place.leader ?? place.replicas[0] ?? null;
    const followers = place.replicas.filter((node) => node !== leader);
    if (before !== undefined && isAlike(before, leader, followers)) {
      ranges[ranges.length - 1] = { ...before, last };
    } else {
      ranges.push({ first: firstSlot(shard, shards.length), last, leader, followers });
    }
  }
  return ranges;
}

/** The ranges by who leads and holds them: what Redis calls a shard. */
export function rangesByHolders(topology: Pick<Topology, "shards">): readonly (readonly SlotRange[])[] {
  const groups = new Map<string, SlotRange[]>();
  for (const range of slotRanges(topology)) {
    const holders = [range.leader ?? "", ...range.followers].join(" ");
    const group = groups.get(holders);
    if (group === undefined) groups.set(holders, [range]);
    else group.push(range);
  }
  return [...groups.values()];
}

/** What a node knows of the cluster, for `CLUSTER NODES`. */
export interface ClusterView {
  readonly routes: Pick<TextRoutes, "self" | "hexId" | "endpointOf">;
  readonly topology: Topology;
  readonly peers: readonly PeerStatus[];
  readonly wallMs: number;
}

/**
 * A line as in `CLUSTER NODES`. Every node counts as a master, since each of them takes writes for what it leads; the
 * epoch is the highest term that it leads in.
 */
export function nodeLine({ routes, topology, peers, wallMs }: ClusterView, node: NodeId): string {
  const endpoint = routes.endpointOf(node);
  const isSelf = node === routes.self;
  const peer = peers.find(({ id }) => id === node);
  const isLinked = isSelf || peer?.connected === true;
  const flags = `${isSelf ? "myself," : ""}master${isSelf ? "" : failFlag(peer)}`;
  const heardMs = isSelf ? wallMs : peer?.lastHeardMs == null ? 0 : wallMs - peer.lastHeardMs;
  const slots = slotRanges(topology)
    .filter(({ leader }) => leader === node)
    .map(({ first, last }) => ` ${first === last ? first : `${first}-${last}`}`);
  // Nodes talk to each other through the same port.
  const where = endpoint === undefined ? ":0@0" : `${endpoint.host}:${endpoint.port}@${endpoint.port}`;
  return (
    `${routes.hexId(node)} ${where} ${flags} - 0 ${Math.round(heardMs)} ${epochOf(topology, node)} ` +
    `${isLinked ? "connected" : "disconnected"}${slots.join("")}`
  );
}

/**
 * The `health` of a node in `CLUSTER SHARDS`: it has failed once that is agreed on, and loads while it is getting its copy, as
 * far as this node can tell by its own replica of the shard. Who keeps a copy without a vote loads until it has something, which
 * the leader knows, and itself.
 */
export function healthOf(
  { routes, peers }: Pick<ClusterView, "routes" | "peers">,
  node: NodeId,
  replica: Pick<ShardStatus, "learners" | "replicas" | "appliedIndex"> | undefined,
  copies: ShardPlace["copies"],
): "online" | "loading" | "fail" {
  const state = node === routes.self ? "alive" : peers.find(({ id }) => id === node)?.state;
  if (state === undefined || state === "dead" || state === "left") return "fail";
  if (replica?.learners.includes(node) !== true) return "online";
  if (!copies.includes(node)) return "loading";
  const known = replica.replicas.find((one) => one.node === node)?.matchIndex;
  const has = node === routes.self ? replica.appliedIndex : known;
  return has === 0 ? "loading" : "online";
}

/** Redis' `fail?` is what one node believes, and `fail` what is agreed on. */
function failFlag(peer: PeerStatus | undefined): string {
  if (peer?.state === "dead" || peer?.state === "left") return ",fail";
  return peer?.connected === true && peer.state === "alive" ? "" : ",fail?";
}

/** `CLUSTER INFO`, as far as there is a counterpart. */
export function clusterInfoText(self: NodeId, { shards, nodes }: Topology): string {
  const led = shards.filter(({ leader }) => leader !== null);
  const slotsOf = (count: number): number => Math.round((count * SLOTS) / shards.length);
  const terms = shards.map(({ term }) => term);
  const fields: readonly (readonly [string, string | number])[] = [
    ["cluster_state", led.length === shards.length ? "ok" : "fail"],
    ["cluster_slots_assigned", SLOTS],
    ["cluster_slots_ok", slotsOf(led.length)],
    ["cluster_slots_pfail", 0],
    ["cluster_slots_fail", slotsOf(shards.length - led.length)],
    ["cluster_known_nodes", nodes.length],
    ["cluster_size", new Set(led.map(({ leader }) => leader)).size],
    ["cluster_current_epoch", Math.max(0, ...terms)],
    ["cluster_my_epoch", epochOf({ shards }, self)],
  ];
  return fields.map(([name, value]) => `${name}:${value}\r\n`).join("");
}

function epochOf({ shards }: Pick<Topology, "shards">, node: NodeId): number {
  return Math.max(0, ...shards.filter(({ leader }) => leader === node).map(({ term }) => term));
}

function isAlike(range: SlotRange, leader: ShardPlace["leader"], followers: readonly NodeId[]): boolean {
  return (
    range.leader === leader &&
    range.followers.length === followers.length &&
    range.followers.every((node, i) => node === followers[i])
  );
}

function firstSlot(shard: number, shards: number): number {
  return Math.ceil((shard * SLOTS) / shards);
}
