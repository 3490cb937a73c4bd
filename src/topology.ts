/**
 * What a node tells clients of the cluster's shape: its nodes, who holds which shard, and who leads it. Clients ask again
 * and again whether it has changed, and subscribers are looked after several times a second, so that question is cheap:
 * the leaders and the members of the groups are compared with those of the last answer, and only if one differs is a
 * topology made anew.
 */
import { type ShardId, shardId } from "../protocol/ids.ts";
import type { ClientResponse, ShardPlace, Topology, TopologyRequest } from "../protocol/messages.ts";
import { utf8 } from "./lib/bytes.ts";
import { xxh64 } from "./lib/hash.ts";

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
      nodes: nodes.map(({ id, address }) => ({ id, address })),
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
    a.length === b.length && a.every(({ id, address }, i) => id === b[i]!.id && address === b[i]!.address)
  );
}
