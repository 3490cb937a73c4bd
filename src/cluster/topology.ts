/**
 * What a node tells clients of the cluster's shape: its nodes, who holds which shard, and who leads it. Clients ask again
 * and again whether it has changed, and subscribers are looked after several times a second, so that question is cheap:
 * the leaders and the members of the groups are compared with those of the last answer, and only if one differs is a
 * topology made anew.
 */
import type { MemberState } from "../../protocol/gossip-messages.ts";
import type { GossipView } from "../../protocol/gossip-view.ts";
import { type ShardId, shardId } from "../../protocol/ids.ts";
import type { ClientResponse, ShardPlace, Topology, TopologyRequest } from "../../protocol/messages.ts";
import { utf8 } from "../lib/bytes.ts";
import { xxh64 } from "../lib/hash.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import { withoutVote } from "../shard/system-facts.ts";
import type { LeaderHints } from "./leader-hints.ts";
import type { Membership } from "./membership.ts";

/** Where a topology's parts come from. */
export interface TopologySources {
  /** How many there are; 0 while the cluster is being founded. */
  shards(): number;
  /** What the cluster has agreed on: its name, its nodes, and how often that has changed. */
  facts(): Pick<Topology, "version" | "clusterId" | "nodes">;
  place(shard: ShardId): ShardPlace;
  /** Something that is another object, or another word, whenever the shard's leader or its replicas may be others. */
  marksOf(shard: ShardId): readonly [leader: unknown, replicas: unknown];
}

/** The topology as a node knows it: what the cluster has agreed on, what was heard of the others, and its own replicas. */
export function topologyOf(
  host: Pick<ShardHost, "shard">,
  membership: Pick<Membership, "facts" | "connected">,
  leaders: Pick<LeaderHints, "claimOf">,
  heard: Pick<GossipView, "stateOf">,
): TopologySource {
  return new TopologySource({
    shards: () => membership.facts.shards.length,
    facts: () => {
      const { version, clusterId, nodes } = membership.facts;
      const told = membership.connected.map(({ id, address, state }) => ({
        ...{ id, address, labels: nodes[id]?.labels ?? NO_LABELS, standing: state },
        isUp: isUp(heard.stateOf(id)),
      }));
      return { version, clusterId, nodes: told };
    },
    marksOf: (shard) => [
      leaders.claimOf(shard)?.leader,
      host.shard(shard)?.members ?? membership.facts.shards[shard],
    ],
    place: (shard) => {
      const replica = host.shard(shard)?.status();
      const set = membership.facts.shards[shard]!;
      const { voters, learners } = replica ?? set.actual;
      const claim = leaders.claimOf(shard);
      return {
        leader: claim?.leader ?? null,
        term: claim?.term ?? replica?.term ?? 0,
        replicas: [...voters, ...learners].sort(),
        copies: withoutVote(set).sort(),
      };
    },
  });
}

const NO_LABELS: Readonly<Record<string, string>> = {};

/** Suspicions come and go, and clients need not hear of each. Of whom nothing was heard nothing bad is known. */
function isUp(state: MemberState | undefined): boolean {
  return state !== "dead" && state !== "left";
}

const UNCHANGED: ClientResponse = { kind: "unchanged" };

export class TopologySource {
  readonly #sources: TopologySources;
  readonly #leaderMarks: unknown[] = [];
  readonly #replicaMarks: unknown[] = [];
  #nodes: Topology["nodes"] = [];
  #topology: Topology | undefined;

  constructor(sources: TopologySources) {
    this.#sources = sources;
  }

  answer({ known }: Pick<TopologyRequest, "known">): ClientResponse {
    const topology = this.current();
    return known === topology.view ? UNCHANGED : { kind: "topology", topology };
  }

  /** As this node knows it now. The same object as long as nothing has changed. */
  current(): Topology {
    const facts = this.#sources.facts();
    const known = this.#topology;
    const areFactsKnown =
      known !== undefined &&
      facts.version === known.version &&
      facts.clusterId === known.clusterId &&
      sameNodes(facts.nodes, this.#nodes);
    if (!this.#haveMarksChanged() && areFactsKnown) return known;
    this.#nodes = facts.nodes;
    this.#topology = this.#build(facts);
    return this.#topology;
  }

  #haveMarksChanged(): boolean {
    const shards = this.#sources.shards();
    let changed = shards !== this.#leaderMarks.length;
    for (let shard = 0; shard < shards; shard++) {
      const [leader, replicas] = this.#sources.marksOf(shardId(shard));
      if (this.#leaderMarks[shard] === leader && this.#replicaMarks[shard] === replicas) continue;
      this.#leaderMarks[shard] = leader;
      this.#replicaMarks[shard] = replicas;
      changed = true;
    }
    return changed;
  }

  #build({ version, clusterId, nodes }: Pick<Topology, "version" | "clusterId" | "nodes">): Topology {
    const rest = {
      version,
      clusterId,
      nodes,
      shards: Array.from({ length: this.#sources.shards() }, (_, shard) =>
        this.#sources.place(shardId(shard)),
      ),
    };
    return { ...rest, view: digestOf(rest) };
  }
}

/** 52 bits, so that it is a whole number wherever it goes. */
function digestOf(topology: Omit<Topology, "view">): number {
  return Number(xxh64(utf8(JSON.stringify(topology))) >> 12n);
}

function sameNodes(a: Topology["nodes"], b: Topology["nodes"]): boolean {
  return (
    a.length === b.length &&
    a.every((node, i) => {
      const other = b[i]!;
      return (
        node.id === other.id &&
        node.address === other.address &&
        node.standing === other.standing &&
        node.isUp === other.isUp &&
        (node.labels === other.labels || JSON.stringify(node.labels) === JSON.stringify(other.labels))
      );
    })
  );
}
