import type { MemberState, NodeLoad } from "../../protocol/gossip-messages.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type {
  ClientResponse,
  ClusterStatus,
  MoveOutlook,
  NodeStatus,
  ShardStatus,
} from "../../protocol/messages.ts";
import type { PeerNetwork } from "../../protocol/peer-network.ts";
import type { Clock, Timer } from "../env/env.ts";
import type { HeldSet } from "../placement/plan.ts";
import { isNamed, withoutVote } from "../shard/system-facts.ts";
import type { KnownNode, Membership } from "./membership.ts";
import { type Held, heldBy, movesOf } from "./shard-moves.ts";

/** A member, as this node knows it without asking. */
export interface ClusterMember {
  readonly id: NodeId;
  readonly address: string;
  readonly state: MemberState;
  readonly standing: ClusterStatus["nodes"][number]["standing"];
  readonly load: NodeLoad | undefined;
}

/** The nodes that belong to the cluster, and those that were removed and hold something yet. */
export function membersShown({
  nodes,
  connected,
  facts,
}: Pick<Membership, "nodes" | "connected" | "facts">): readonly KnownNode[] {
  const isLeaving = (id: NodeId): boolean =>
    facts.nodes[id]?.state === "removed" && facts.shards.some((set) => isNamed(set, id));
  return connected.filter(({ id }) => nodes.some((node) => node.id === id) || isLeaving(id));
}

/**
 * Asks the other members that are there for their status, and answers when all of them have answered or the deadline has
 * passed. As its request ids it uses the places of the members in the list.
 */
export class GatherStatus implements ReplySink {
  readonly #members: readonly ClusterMember[];
  readonly #sets: readonly HeldSet[];
  readonly #outlook: (heldOf: (node: NodeId) => Held | undefined) => MoveOutlook;
  readonly #statuses: (NodeStatus | undefined)[];
  readonly #errors: (string | undefined)[];
  readonly #sink: ReplySink;
  readonly #requestId: number;
  readonly #timer: Timer;
  #missing: number;
  #answered = false;

  constructor(parts: {
    readonly clock: Clock;
    readonly network: Pick<PeerNetwork, "forward">;
    readonly members: readonly ClusterMember[];
    /** By shard. */
    readonly sets: readonly HeldSet[];
    /** Told how much nodes hold, as far as they have answered. */
    readonly outlook: (heldOf: (node: NodeId) => Held | undefined) => MoveOutlook;
    readonly own: NodeStatus;
    readonly deadlineMs: number;
    readonly sink: ReplySink;
    readonly requestId: number;
  }) {
    const { members, own, network } = parts;
    this.#members = members;
    this.#sets = parts.sets;
    this.#outlook = parts.outlook;
    this.#statuses = members.map((member) => (member.id === own.id ? own : undefined));
    this.#errors = members.map(({ state }) => (isGone(state) ? GONE[state] : undefined));
    this.#sink = parts.sink;
    this.#requestId = parts.requestId;
    this.#missing = members.length;
    this.#timer = parts.clock.timer(parts.deadlineMs, () => this.#answer());
    for (const [place, member] of members.entries()) {
      if (member.id === own.id || isGone(member.state)) this.#arrived();
      else network.forward(member.id, { kind: "status", scope: "node" }, this, place);
    }
  }

  reply(place: number, response: ClientResponse): void {
    if (response.kind === "nodeStatus") this.#statuses[place] = response.status;
    else if (response.kind === "error") this.#errors[place] = response.message;
    this.#arrived();
  }

  #arrived(): void {
    this.#missing--;
    if (this.#missing === 0) this.#answer();
  }

  #answer(): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#timer.cancel();
    const outlook = this.#outlook((node) => {
      const status = this.#statuses.find((one) => one?.id === node);
      return status === undefined ? undefined : heldBy(status);
    });
    const status = clusterStatus(this.#members, this.#statuses, this.#errors, this.#sets, outlook);
    this.#sink.reply(this.#requestId, { kind: "clusterStatus", status });
  }
}

const GONE = { dead: "it answers nobody", left: "it was stopped" } as const;

function isGone(state: MemberState): state is keyof typeof GONE {
  return state in GONE;
}

/** What the answers of the members amount to. Nothing is assumed of a member that did not answer. */
export function clusterStatus(
  members: readonly ClusterMember[],
  statuses: readonly (NodeStatus | undefined)[],
  errors: readonly (string | undefined)[],
  sets: readonly HeldSet[],
  outlook: MoveOutlook,
): ClusterStatus {
  const answered = statuses.filter((status) => status !== undefined);
  const shards = sets.map((set, shard) => ({
    ...shardSummary(shard, members, answered),
    copies: withoutVote(set),
  }));
  const served = shards.filter((shard) => shard.leader !== null).length;
  return {
    clusterId: answered.find((status) => status.clusterId !== "")?.clusterId ?? "",
    nodes: members.map((member, place) => ({
      id: member.id,
      address: member.address,
      state: member.state,
      standing: member.standing,
      lastSeenMs: statuses[place] !== undefined ? 0 : lastSeenMs(member.id, answered),
      load: member.load ?? null,
      status: statuses[place] ?? null,
      error: statuses[place] !== undefined ? null : (errors[place] ?? "no answer in time"),
    })),
    shards,
    moves: movesOf(sets, shards, answered),
    outlook,
    available: shards.length === 0 ? 0 : served / shards.length,
  };
}

/** A shard has a leader if a node that answers says that it leads, in the highest term, and reaches a majority. */
function shardSummary(shard: number, members: readonly ClusterMember[], answered: readonly NodeStatus[]) {
  const views = new Map<NodeId, ShardStatus>();
  for (const status of answered) {
    const view = status.shards.find((row) => row.shard === shard);
    if (view !== undefined) views.set(status.id, view);
  }
  let leader: { readonly id: NodeId; readonly view: ShardStatus } | undefined;
  for (const [id, view] of views) {
    if (view.role === "leader" && (leader === undefined || view.term > leader.view.term))
      leader = { id, view };
  }
  const hasQuorum = leader !== undefined && reachesQuorum(leader.id, leader.view);
  const best = leader?.view ?? [...views.values()].sort((a, b) => b.commitIndex - a.commitIndex)[0];
  // None of those that hold it has answered.
  if (best === undefined) return { shard, leader: null, term: 0, commitIndex: 0, appliedIndex: 0, lag: [] };
  const holders = members.filter(({ id }) => holds(best, id));
  return {
    shard,
    leader: hasQuorum ? leader!.id : null,
    term: best.term,
    commitIndex: best.commitIndex,
    appliedIndex: best.appliedIndex,
    lag: holders.map(({ id }) => {
      const replica = leader?.view.replicas.find(({ node }) => node === id);
      // A leader that has not heard of a member since its election does not know what that member has.
      const isHeardOf = replica !== undefined && (replica.active || replica.matchIndex > 0);
      const matched = isHeardOf ? replica.matchIndex : undefined;
      const reachedIndex = id === leader?.id ? leader.view.lastIndex : matched;
      return {
        node: id,
        entries: reachedIndex === undefined ? null : Math.max(0, best.lastIndex - reachedIndex),
      };
    }),
  };
}

function holds({ voters, outgoing, learners }: ShardStatus, node: NodeId): boolean {
  return voters.includes(node) || outgoing.includes(node) || learners.includes(node);
}

/** A leader hears a majority of the voters, of either set while one replaces the other. */
function reachesQuorum(id: NodeId, { voters, outgoing, replicas }: ShardStatus): boolean {
  return [voters, outgoing].every((set) => {
    const heard = set.filter(
      (node) => node === id || replicas.some((one) => one.node === node && one.active),
    );
    return set.length === 0 || heard.length > set.length / 2;
  });
}

function lastSeenMs(id: NodeId, answered: readonly NodeStatus[]): number | null {
  const seen = answered.flatMap((status) =>
    status.peers.filter((peer) => peer.id === id).map((peer) => peer.lastHeardMs),
  );
  const known = seen.filter((ms) => ms !== null);
  return known.length === 0 ? null : Math.min(...known);
}
