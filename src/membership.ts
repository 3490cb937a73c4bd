import type { ErrorName } from "../protocol/errors.ts";
import { type NodeId, nodeId } from "../protocol/ids.ts";
import type { ChangeMember } from "../protocol/messages.ts";
import type { PeerHello } from "../protocol/peer-messages.ts";
import type { Members } from "./raft/configuration.ts";
import {
  faultOfChange,
  type NodeFact,
  type SystemCommand,
  type SystemFacts,
} from "./shard/system-machine.ts";

/** A node of the cluster, as far as this one knows. */
export interface KnownNode {
  readonly id: NodeId;
  readonly address: string;
  readonly role: NodeFact["role"];
}

export interface MembershipParts {
  readonly self: NodeId;
  readonly incarnation: string;
  /** Who `--peers` names, this node included: the founders; or where a node that joins finds the cluster. */
  readonly listed: readonly { readonly id: NodeId; readonly address: string }[];
  /** This node was added to a cluster that was there before it. */
  readonly joins: boolean;
  readonly shards: number;
  readonly facts: SystemFacts;
  /** What leases rest on, as `NodeTimings` has it: the same everywhere, or a leader could rely on what nobody keeps. */
  readonly lease: { readonly leaseMs: number; readonly promiseMs: number };
  /** Whether some group here has `node` among its members, as far as this node knows. */
  readonly isInGroup: (node: NodeId) => boolean;
}

/**
 * Who the nodes of the cluster are, and who may speak as which. The command line names the founders; from then on the
 * system group knows, and also which data directory each of them came with, so that a node that lost its disk, and with it
 * its votes and acknowledged entries, can't act as its old self.
 */
export class Membership {
  readonly #parts: MembershipParts;
  /** The incarnations that came with accepted hellos, this node's own included. */
  readonly #seen = new Map<NodeId, string>();
  /** Members that said that this node is not of their cluster, and why. */
  readonly #refusals = new Map<NodeId, string>();
  /** Nodes that others told of, and where they are: members perhaps, of which this node knows nothing yet. */
  readonly #toldOf = new Map<NodeId, string>();
  #facts: SystemFacts;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    this.#facts = parts.facts;
    this.#seen.set(parts.self, parts.incarnation);
  }

  /** What the system group has agreed on, as far as this node ever knew. */
  get facts(): SystemFacts {
    return this.#facts;
  }

  /** The nodes that are members now, sorted. */
  get nodes(): readonly KnownNode[] {
    return this.#known.filter(({ role }) => role !== "removed");
  }

  /**
   * The nodes to talk to, this one included: the members; who is removed but still belongs to a group, which may need its
   * vote to let it go; and those that others told of.
   */
  get connected(): readonly KnownNode[] {
    const known = this.#known.filter(({ id, role }) => role !== "removed" || this.#parts.isInGroup(id));
    for (const [id, address] of this.#toldOf) {
      if (!this.#known.some((node) => node.id === id)) known.push({ id, address, role: "learner" });
    }
    return known;
  }

  /**
   * Another member's view of who the nodes are. Whoever leads the system group may have come while this node was away: its
   * address is known from nobody but the others, and without that this node would never hear what the group agreed on.
   */
  hearOf(clusterId: string, nodes: readonly { readonly id: NodeId; readonly address: string }[]): void {
    if (this.#facts.clusterId !== "" && clusterId !== this.#facts.clusterId) return;
    for (const { id, address } of nodes) if (id !== this.#parts.self) this.#toldOf.set(id, address);
  }

  get #known(): readonly KnownNode[] {
    const { nodes } = this.#facts;
    const { listed, joins, self } = this.#parts;
    // Where both say where a node is, this node's own command line knows better how to reach it from here.
    const rows: KnownNode[] = Object.keys(nodes).map((id) => {
      const own = listed.find((node) => node.id === id);
      return { id: nodeId(id), address: own?.address ?? nodes[id]!.address, role: nodes[id]!.role };
    });
    if (rows.length === 0) {
      for (const { id, address } of listed) {
        rows.push({ id, address, role: joins && id === self ? "learner" : "voter" });
      }
    }
    return rows.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Who the members of every group should be; `undefined` before the cluster is founded. */
  get desired(): Members | undefined {
    if (this.#facts.clusterId === "") return undefined;
    const of = (role: NodeFact["role"]) =>
      this.nodes.filter((node) => node.role === role).map(({ id }) => id);
    return { voters: of("voter"), learners: of("learner") };
  }

  /**
   * Adds what the system group's machine says now; true if there is news. A machine that replays its log has not come to
   * everything yet: what was known stays known. What a node is only ever goes on, from learner to voter to removed.
   */
  learn({ clusterId, incarnations, nodes }: SystemFacts): boolean {
    const known = this.#facts;
    const bound = Object.keys(incarnations).filter((node) => known.incarnations[node] === undefined);
    const moved = Object.keys(nodes).filter((node) => isLater(nodes[node]!, known.nodes[node]));
    const isFounded = clusterId !== "" && known.clusterId === "";
    if (bound.length === 0 && moved.length === 0 && !isFounded) return false;
    const merged = { ...known.nodes };
    for (const node of moved) merged[node] = nodes[node]!;
    this.#facts = {
      clusterId: known.clusterId || clusterId,
      incarnations: { ...incarnations, ...known.incarnations },
      nodes: merged,
    };
    return true;
  }

  hello(): PeerHello {
    const { self, incarnation, listed, joins, shards, lease } = this.#parts;
    return {
      node: self,
      clusterId: this.#facts.clusterId,
      incarnation,
      members: joins ? [] : listed.map(({ id }) => id),
      shards,
      ...lease,
    };
  }

  /** Why a peer that says `hello` must not take part, or `undefined` if it may. */
  admit(hello: PeerHello): { readonly error: ErrorName; readonly message: string } | undefined {
    const { clusterId, incarnations, nodes } = this.#facts;
    const { self, shards, lease } = this.#parts;
    const wrongCluster = (message: string) => ({ error: "WRONG_CLUSTER", message }) as const;
    if (nodes[hello.node]?.role === "removed" && !this.#parts.isInGroup(hello.node)) {
      return wrongCluster(`${hello.node} was removed from the cluster`);
    }
    const own = this.hello().members;
    const founds = hello.members.length > 0 && own.length > 0 && nodes[hello.node] === undefined;
    if (founds && hello.members.join() !== own.join()) {
      return wrongCluster(
        `${hello.node} was started with --peers ${hello.members.join(", ")}, ${self} with ${own.join(", ")}`,
      );
    }
    if (hello.shards !== shards) {
      return wrongCluster(`${hello.node} was started with --shards ${hello.shards}, ${self} with ${shards}`);
    }
    if (hello.leaseMs !== lease.leaseMs || hello.promiseMs !== lease.promiseMs) {
      const told = (of: typeof lease) =>
        of.leaseMs === 0 ? "without leases" : `with leases of ${of.leaseMs} ms`;
      return wrongCluster(
        `${hello.node} was started ${told(hello)}, ${self} ${told(lease)}: --lease-drift-percent, --election-timeout-ms and --tick-ms have to be the same on all nodes of a cluster with leases`,
      );
    }
    if (clusterId !== "" && hello.clusterId !== "" && hello.clusterId !== clusterId) {
      return wrongCluster(
        `the data of ${hello.node} belong to cluster ${hello.clusterId}, those of ${self} to ${clusterId}`,
      );
    }
    // Before the system group has bound a member, this node remembers whom it has let in: votes may hang on it already.
    const known = incarnations[hello.node] ?? this.#seen.get(hello.node);
    if (known !== undefined && known !== hello.incarnation) {
      return {
        error: "WRONG_INCARNATION",
        message: `${hello.node} came with another data directory than the cluster knows it by (incarnation ${hello.incarnation}, not ${known}): what it had acknowledged is not there, so it can't act as its old self. Start it with its own data directory, or remove it and add another node under another name`,
      };
    }
    this.#seen.set(hello.node, hello.incarnation);
    this.#refusals.delete(hello.node);
    return undefined;
  }

  /**
   * A member refused this node. Returns why this node can't take part at all, once too few members are left for a majority.
   * A node that joins waits until it is added.
   */
  refused(by: NodeId, error: ErrorName, message: string): string | undefined {
    if (error !== "WRONG_CLUSTER" && error !== "WRONG_INCARNATION") return undefined;
    if (this.#parts.joins && this.#facts.clusterId === "" && error === "WRONG_CLUSTER") return undefined;
    this.#refusals.set(by, message);
    const { length } = this.nodes;
    return length - this.#refusals.size > length / 2 ? undefined : `${by} refuses this node: ${message}`;
  }

  /** What the system group's leader should propose so that its facts catch up with what it has seen. */
  missingFacts(newClusterId: () => string): readonly SystemCommand[] {
    const { clusterId, incarnations, nodes } = this.#facts;
    const missing: SystemCommand[] = [];
    if (clusterId === "") {
      const founders = this.nodes.map(({ id, address, role }) => [id, { address, role }] as const);
      missing.push({ kind: "found", clusterId: newClusterId(), nodes: Object.fromEntries(founders) });
    }
    for (const [node, incarnation] of this.#seen) {
      if (incarnations[node] !== undefined || nodes[node]?.role === "removed") continue;
      missing.push({ kind: "bind", node, incarnation });
    }
    return missing;
  }

  /** What a change asks of the system group, or why it can't be, as a sentence. */
  change({ action, node, address }: ChangeMember): SystemCommand | string {
    const role = action === "add" ? "learner" : action === "promote" ? "voter" : "removed";
    const fact: NodeFact = {
      address: action === "add" ? address : (this.#facts.nodes[node]?.address ?? ""),
      role,
    };
    return faultOfChange(this.#facts, node, fact) ?? { kind: "member", node, fact };
  }

  /** Whether a change that was asked for is what the cluster knows. */
  isDone({ action, node, address }: ChangeMember): boolean {
    const { role, address: known } = this.#facts.nodes[node] ?? {};
    if (action === "add") return role !== undefined && role !== "removed" && known === address;
    return action === "promote" ? role === "voter" : role === "removed";
  }
}

const ORDER = ["learner", "voter", "removed"];

function isLater(fact: NodeFact, known: NodeFact | undefined): boolean {
  return known === undefined || ORDER.indexOf(fact.role) > ORDER.indexOf(known.role);
}
