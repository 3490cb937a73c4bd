import type { ErrorName } from "../protocol/errors.ts";
import type { NodeId } from "../protocol/ids.ts";
import type { PeerHello } from "../protocol/peer-messages.ts";
import type { SystemCommand, SystemFacts } from "./shard/system-machine.ts";

/**
 * Who may speak as which member. The config says who the members are; the system group remembers which data directory
 * each of them came with, so that a node that lost its disk, and with it its votes and acknowledged entries, can't act as
 * its old self.
 */
export class Membership {
  readonly #self: NodeId;
  readonly #members: readonly NodeId[];
  readonly #shards: number;
  readonly #incarnation: string;
  /** The incarnations that came with accepted hellos, this node's own included. */
  readonly #seen = new Map<NodeId, string>();
  /** Members that said that this node is not of their cluster, and why. */
  readonly #refusals = new Map<NodeId, string>();
  #facts: SystemFacts;

  constructor(
    self: NodeId,
    incarnation: string,
    members: readonly NodeId[],
    shards: number,
    facts: SystemFacts,
  ) {
    this.#self = self;
    this.#incarnation = incarnation;
    this.#members = members;
    this.#shards = shards;
    this.#facts = facts;
    this.#seen.set(self, incarnation);
  }

  /** What the system group has agreed on, as far as this node ever knew. */
  get facts(): SystemFacts {
    return this.#facts;
  }

  /**
   * Adds what the system group's machine says now; true if there is news. Nothing that was agreed on ever changes, and a
   * machine that replays its log has not come to everything yet: what was known stays known.
   */
  learn({ clusterId, incarnations }: SystemFacts): boolean {
    const known = this.#facts;
    const news = Object.keys(incarnations).filter((node) => known.incarnations[node] === undefined);
    if (news.length === 0 && (clusterId === "" || known.clusterId !== "")) return false;
    this.#facts = {
      clusterId: known.clusterId || clusterId,
      incarnations: { ...incarnations, ...known.incarnations },
    };
    return true;
  }

  hello(): PeerHello {
    return {
      node: this.#self,
      clusterId: this.#facts.clusterId,
      incarnation: this.#incarnation,
      members: this.#members,
      shards: this.#shards,
    };
  }

  /** Why a peer that says `hello` must not take part, or `undefined` if it may. */
  admit(hello: PeerHello): { readonly error: ErrorName; readonly message: string } | undefined {
    const { clusterId, incarnations } = this.#facts;
    const wrongCluster = (message: string) => ({ error: "WRONG_CLUSTER", message }) as const;
    if (hello.members.join() !== this.#members.join()) {
      return wrongCluster(
        `${hello.node} was started with --peers ${hello.members.join(", ")}, ${this.#self} with ${this.#members.join(", ")}`,
      );
    }
    if (hello.shards !== this.#shards) {
      return wrongCluster(
        `${hello.node} was started with --shards ${hello.shards}, ${this.#self} with ${this.#shards}`,
      );
    }
    if (clusterId !== "" && hello.clusterId !== "" && hello.clusterId !== clusterId) {
      return wrongCluster(
        `the data of ${hello.node} belong to cluster ${hello.clusterId}, those of ${this.#self} to ${clusterId}`,
      );
    }
    // Before the system group has bound a member, this node remembers whom it has let in: votes may hang on it already.
    const known = incarnations[hello.node] ?? this.#seen.get(hello.node);
    if (known !== undefined && known !== hello.incarnation) {
      return {
        error: "WRONG_INCARNATION",
        message: `${hello.node} came with another data directory than the cluster knows it by (incarnation ${hello.incarnation}, not ${known}): what it had acknowledged is not there, so it can't act as its old self. Start it with its own data directory`,
      };
    }
    this.#seen.set(hello.node, hello.incarnation);
    this.#refusals.delete(hello.node);
    return undefined;
  }

  /** A member refused this node. Returns why this node can't take part at all, once too few members are left for a majority. */
  refused(by: NodeId, error: ErrorName, message: string): string | undefined {
    if (error !== "WRONG_CLUSTER" && error !== "WRONG_INCARNATION") return undefined;
    this.#refusals.set(by, message);
    const left = this.#members.length - this.#refusals.size;
    return left > this.#members.length / 2 ? undefined : `${by} refuses this node: ${message}`;
  }

  /** What the system group's leader should propose so that its facts catch up with what it has seen. */
  missingFacts(newClusterId: () => string): readonly SystemCommand[] {
    const { clusterId, incarnations } = this.#facts;
    const missing: SystemCommand[] = clusterId === "" ? [{ kind: "found", clusterId: newClusterId() }] : [];
    for (const [node, incarnation] of this.#seen) {
      if (incarnations[node] === undefined) missing.push({ kind: "bind", node, incarnation });
    }
    return missing;
  }
}
