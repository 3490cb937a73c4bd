import type { Topology } from "../../protocol/messages.ts";

const NONE: readonly string[] = [];

/**
 * What the client believes about the cluster: who the nodes are, and who leads which shard. It may be out of date at any
 * time, and nothing breaks then: a node that is asked wrongly says so and often says who to ask instead.
 */
export class TopologyCache {
  /** The addresses that the caller gave: the way in, and the way back when all that was learned has become wrong. */
  readonly #seeds: readonly string[];
  #topology: Topology | undefined;
  /** By shard: the address of its leader, the term that this is known from, and the addresses of its replicas. */
  #leaders: (string | undefined)[] = [];
  #terms: number[] = [];
  #replicas: (readonly string[])[] = [];
  /** Addresses of nodes first, then the seeds that are not among them. */
  #addresses: readonly string[];
  #next: number;

  /** `start`: which address the round of `addresses` begins with, so that not all clients ask the same node first. */
  constructor(seeds: readonly string[], start: number) {
    this.#seeds = seeds;
    this.#addresses = seeds;
    this.#next = start;
  }

  /** The number of shards; 0 before the first topology. */
  get shards(): number {
    return this.#leaders.length;
  }

  /** Names the topology that this is, for a node to compare with its own. */
  get view(): number | undefined {
    return this.#topology?.view;
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  leaderOf(shard: number): string | undefined {
    return this.#leaders[shard];
  }

  /** The addresses of those that hold `shard`, sorted by the id of their nodes; empty before the first topology. */
  replicasOf(shard: number): readonly string[] {
    return this.#replicas[shard] ?? NONE;
  }

  /** The next node that `usable` accepts, in a round over all of them; the next one of all where it accepts none. */
  nextAddress(usable: (address: string) => boolean): string {
    const count = this.#addresses.length;
    for (let i = 0; i < count; i++) {
      const address = this.#addresses[(this.#next + i) % count]!;
      if (!usable(address)) continue;
      this.#next = (this.#next + i + 1) % count;
      return address;
    }
    this.#next = (this.#next + 1) % count;
    return this.#addresses[this.#next]!;
  }

  /**
   * Takes over what a node answered. Leaders that it does not know, or knows from an earlier term than this client, are
   * kept as they were: who had one yesterday may have the same today. `true`: this is another cluster than before (a data directory was wiped, an address reused).
   */
  replace(topology: Topology): boolean {
    const before = this.#topology;
    // A node that has just started knows of no shards until it has read what the cluster agreed on.
    if (topology.shards.length === 0 && this.#leaders.length > 0) return false;
    const isOther =
      before !== undefined &&
      (before.clusterId !== topology.clusterId || before.shards.length !== topology.shards.length);
    if (isOther) {
      this.#leaders = [];
      this.#terms = [];
    }
    const byId = new Map(topology.nodes.map(({ id, address }) => [id, address]));
    // What was learned since from redirects may be newer than what this node knows.
    this.#leaders = topology.shards.map(({ leader, term }, shard) => {
      const known = this.#leaders[shard];
      if (leader === null || term < (this.#terms[shard] ?? 0)) return known;
      this.#terms[shard] = term;
      return byId.get(leader) ?? known;
    });
    this.#replicas = topology.shards.map(({ replicas }) =>
      replicas.map((node) => byId.get(node)).filter((address) => address !== undefined),
    );
    this.#addresses = [...new Set([...byId.values(), ...this.#seeds])];
    this.#topology = topology;
    return isOther;
  }

  /** A node that does not lead `shard` says that `address` does: since a later term, if that is news. */
  learnLeader(shard: number, address: string): void {
    if (shard >= this.#leaders.length || this.#leaders[shard] === address) return;
    if (this.#leaders[shard] !== undefined) this.#terms[shard] = (this.#terms[shard] ?? 0) + 1;
    this.#leaders[shard] = address;
  }

  /** `address` says that it does not lead `shard`. */
  forgetLeader(shard: number, address: string): void {
    if (this.#leaders[shard] === address) this.#leaders[shard] = undefined;
  }

  /** `address` can't be reached: nothing is led from there, as far as this client is concerned. */
  forgetNode(address: string): void {
    for (let shard = 0; shard < this.#leaders.length; shard++) this.forgetLeader(shard, address);
  }
}
