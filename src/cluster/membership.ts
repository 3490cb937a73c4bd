import type { ErrorName } from "../../protocol/errors.ts";
import { type GroupId, type NodeId, nodeId, SYSTEM_GROUP, shardOfGroup } from "../../protocol/ids.ts";
import type { ChangeMember, Join, JoinedCluster } from "../../protocol/messages.ts";
import type { PeerHello } from "../../protocol/peer-messages.ts";
import type { Members } from "../raft/configuration.ts";
import {
  faultOf,
  NO_FACTS,
  type NodeFact,
  type NodeState,
  namedIn,
  type Settings,
  SYSTEM_VOTERS_MAX,
  type SystemCommand,
  type SystemFacts,
  withoutVote,
} from "../shard/system-facts.ts";
import type { Founding } from "./founding.ts";

/** A node of the cluster, as far as this one knows. */
export interface KnownNode {
  readonly id: NodeId;
  readonly address: string;
  readonly state: NodeState;
}

/** What a node writes beside its data of what the cluster agreed on: it has to know this before it can read its logs. */
export interface KeptFacts
  extends Pick<SystemFacts, "version" | "clusterId" | "settings" | "incarnations" | "nodes"> {
  /** By shard: whom its group was founded with. */
  readonly first: readonly (readonly NodeId[])[];
}

export interface MembershipParts {
  readonly self: NodeId;
  readonly incarnation: string;
  /** Where others reach this node, and what it shares with other nodes. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The founders, this node included; nobody of a node that joined. */
  readonly founders: readonly { readonly id: NodeId; readonly address: string }[];
  readonly founding: Founding;
  /**
   * Nodes whose address the command line says: they are reached there, until they say that they are elsewhere than the
   * cluster has agreed on, or that changes.
   */
  readonly listed: readonly { readonly id: NodeId; readonly address: string }[];
  /** What this node would found the cluster with. */
  readonly settings: Settings;
  readonly facts: KeptFacts;
  /** What leases rest on, as `NodeTimings` has it: the same everywhere, or a leader could rely on what nobody keeps. */
  readonly lease: { readonly leaseMs: number; readonly promiseMs: number };
  /** Who shall hold which shard at first, by shard: the ring's choice. */
  readonly place: (nodes: readonly PlacedNode[], settings: Settings) => readonly (readonly NodeId[])[];
  /** Whether some group here has `node` among its members, as far as this node knows. */
  readonly isInGroup: (node: NodeId) => boolean;
}

export interface PlacedNode extends Pick<NodeFact, "address" | "labels"> {
  readonly id: NodeId;
}

/** Most places that are kept of a node beside where it is believed to be. */
const RUMOURS_MAX = 4;

/** What a node says of itself in its hello. */
type Seen = Pick<PeerHello, "incarnation" | "address" | "labels">;

/**
 * Who the nodes of the cluster are, and who may speak as which. The command line names the founders; from then on the
 * system group knows, and also which data directory each of them came with, so that a node that lost its disk, and with it
 * its votes and acknowledged entries, can't act as its old self.
 */
export class Membership {
  readonly #parts: MembershipParts;
  /** What came with accepted hellos, this node's own included. */
  readonly #seen = new Map<NodeId, Seen>();
  /** Members that said that this node is not of their cluster, and why. */
  readonly #refusals = new Map<NodeId, string>();
  /** Where nodes say that they are, or where the facts had them when these last changed. */
  readonly #movedTo = new Map<NodeId, string>();
  /**
   * Where nodes are too, or were: as others tell, who may know less than this node, the latest first. They may be members of
   * which this node knows nothing yet.
   */
  readonly #rumours = new Map<NodeId, readonly string[]>();
  /** By id, sorted; made anew when it is asked for after a change. */
  #knownNodes: readonly KnownNode[] | undefined;
  #kept: KeptFacts;
  /** As the system group's machine says, which may replay its log. */
  #current: SystemFacts | undefined;
  #facts: SystemFacts;
  /** Removed nodes that hold a shard, or shall; `undefined` while this node has not heard who does, since it started. */
  #leaving: ReadonlySet<string> | undefined;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    this.#kept = parts.facts;
    this.#facts = { ...NO_FACTS, ...parts.facts };
    const { incarnation, address, labels } = parts;
    this.#seen.set(parts.self, { incarnation, address, labels });
  }

  /**
   * What the system group has agreed on, as far as this node ever knew: after a restart the nodes may be newer than the
   * shards, which are the machine's.
   */
  get facts(): SystemFacts {
    return this.#facts;
  }

  /** What has to be written beside the data; another object when it has changed. */
  get kept(): KeptFacts {
    return this.#kept;
  }

  /** The nodes that are members now, sorted. */
  get nodes(): readonly KnownNode[] {
    return this.#known.filter(({ state }) => state !== "removed");
  }

  /**
   * The nodes to talk to, this one included: the members; who is removed but still belongs to a group, which may need its
   * vote to let it go; and those that others told of.
   */
  get connected(): readonly KnownNode[] {
    const known = this.#known.filter(({ id, state }) => state !== "removed" || this.#isHeld(id));
    const { nodes } = this.#facts;
    for (const [id, addresses] of this.#rumours) {
      if (nodes[id] === undefined && !known.some((node) => node.id === id)) {
        known.push({ id, address: addresses[0]!, state: "member" });
      }
    }
    return known;
  }

  /** Whether this node may vote and acknowledge: the cluster is founded, or nobody could take its place unnoticed. */
  get mayTakePart(): boolean {
    return this.#facts.clusterId !== "" || this.#parts.founding.mayTakePart;
  }

  /** `host:port` of a node that is talked to. */
  addressOf(node: NodeId): string | undefined {
    if (node === this.#parts.self) return this.#parts.address;
    const moved = this.#movedTo.get(node);
    if (moved !== undefined) return moved;
    const own = this.#parts.listed.find(({ id }) => id === node)?.address;
    return own ?? this.#facts.nodes[node]?.address ?? this.#rumours.get(node)?.[0];
  }

  /** Where a node that is talked to may be found: where it is believed to be first. */
  placesOf(node: NodeId): readonly string[] {
    const address = this.addressOf(node);
    const rumours = this.#rumours.get(node) ?? [];
    return address === undefined ? rumours : [address, ...rumours.filter((other) => other !== address)];
  }

  /** A node of the facts says where it is, or these do, which are late where a majority hangs on this node's finding it. */
  #moved(node: NodeId, address: string): void {
    const before = this.addressOf(node);
    this.#movedTo.set(node, address);
    if (before === address) return;
    if (before !== undefined) this.#noteRumour(node, before);
    this.#knownNodes = undefined;
  }

  /** Where the facts have it, it is reached as the command line says, which may know a way that is this node's alone. */
  #noteClaim(node: NodeId, address: string): void {
    const fact = this.#facts.nodes[node];
    const isAsAgreed = fact?.address === address && !this.#movedTo.has(node);
    if (fact !== undefined && !isAsAgreed) this.#moved(node, address);
  }

  #noteRumour(node: NodeId, address: string): void {
    const others = (this.#rumours.get(node) ?? []).filter((other) => other !== address);
    this.#rumours.set(node, [address, ...others].slice(0, RUMOURS_MAX));
  }

  /** Whether this node was removed. */
  get isRemoved(): boolean {
    return this.#facts.nodes[this.#parts.self]?.state === "removed";
  }

  /**
   * Another member's view of who the nodes are. Whoever leads the system group may have come while this node was away: its
   * address is known from nobody but the others, and without that this node would never hear what the group agreed on.
   */
  hearOf(clusterId: string, nodes: readonly { readonly id: NodeId; readonly address: string }[]): void {
    if (this.#facts.clusterId !== "" && clusterId !== this.#facts.clusterId) return;
    for (const { id, address } of nodes) {
      if (id !== this.#parts.self) this.#noteRumour(id, address);
    }
  }

  get #known(): readonly KnownNode[] {
    this.#knownNodes ??= this.#listKnown();
    return this.#knownNodes;
  }

  #listKnown(): readonly KnownNode[] {
    const { nodes } = this.#facts;
    const rows: KnownNode[] = Object.keys(nodes).map((id) => {
      return { id: nodeId(id), address: this.addressOf(nodeId(id))!, state: nodes[id]!.state };
    });
    if (rows.length === 0) {
      for (const { id, address } of this.#parts.founders) {
        rows.push({ id, address: this.addressOf(id) ?? address, state: "member" });
      }
    }
    return rows.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #isHeld(node: NodeId): boolean {
    return this.#leaving === undefined || this.#leaving.has(node) || this.#parts.isInGroup(node);
  }

  /**
   * Who the members of a group should be; `undefined` where nobody has said so. In the system group all nodes learn that do
   * not vote, also those that were removed, until no shard has them any more: there they hear that they are.
   */
  desired(group: GroupId): Members | undefined {
    const { shards, systemVoters } = this.#facts;
    if (group !== SYSTEM_GROUP) {
      const set = shards[shardOfGroup(group)];
      if (set === undefined) return undefined;
      return { voters: [...set.wanted].sort(), learners: withoutVote(set).sort() };
    }
    if (systemVoters.length === 0) return undefined;
    // Also those that were removed: without somebody in their place there might be too few.
    const voters = [...systemVoters].sort();
    const known = this.#known;
    const isLearner = ({ id, state }: KnownNode) =>
      !voters.includes(id) && (state !== "removed" || this.#leaving?.has(id) !== false);
    return { voters, learners: known.filter(isLearner).map(({ id }) => id) };
  }

  /** In which order nodes should lead a group: those that stay, as they are wanted; nobody where nothing is known. */
  leaderPreference(group: GroupId): readonly NodeId[] {
    const { shards, systemVoters, nodes } = this.#facts;
    const wanted = group === SYSTEM_GROUP ? systemVoters : (shards[shardOfGroup(group)]?.wanted ?? []);
    return wanted.filter((id) => nodes[id]?.state === "member");
  }

  /** What the system group's machine says now; whether that is news. One that replays its log may say what was long ago. */
  learn(facts: SystemFacts): boolean {
    if (facts.clusterId === "") return false;
    this.#current = facts;
    const before = this.#facts.nodes;
    if (facts.version >= this.#kept.version) this.#keep(facts);
    const { version, clusterId, settings, incarnations, nodes } = this.#kept;
    this.#facts =
      facts.version >= version ? facts : { ...facts, version, clusterId, settings, incarnations, nodes };
    for (const id of Object.keys(nodes)) {
      const was = before[id]?.address;
      const { address } = nodes[id]!;
      if (was === undefined || was === address) continue;
      this.#noteRumour(nodeId(id), was);
      this.#moved(nodeId(id), address);
    }
    const holders = new Set(facts.shards.flatMap(namedIn));
    // One that replays its log does not know yet who holds what by now.
    const isCurrent = facts.version >= version;
    this.#leaving = isCurrent
      ? new Set([...holders].filter((id) => nodes[id]?.state === "removed"))
      : undefined;
    this.#knownNodes = undefined;
    return true;
  }

  /** The version of the facts that shards were last learned with; `undefined` while the machine knows nothing. */
  get current(): SystemFacts | undefined {
    return this.#current;
  }

  #keep({ version, clusterId, settings, incarnations, nodes, shards }: SystemFacts): void {
    const known = this.#kept;
    const isSame =
      clusterId === known.clusterId &&
      incarnations === known.incarnations &&
      nodes === known.nodes &&
      known.first.length === shards.length;
    if (isSame) return;
    const first = shards.map((set) => set.first);
    this.#kept = { version, clusterId, settings, incarnations, nodes, first };
  }

  hello(): PeerHello {
    const { self, incarnation, founders, address, labels, lease } = this.#parts;
    const { clusterId } = this.#facts;
    return {
      ...{ node: self, clusterId, incarnation, members: founders.map(({ id }) => id) },
      ...{ settings: this.#settings, address, labels, ...lease },
    };
  }

  /** What the cluster was founded with, or would be. */
  get #settings(): Settings {
    return this.#facts.clusterId === "" ? this.#parts.settings : this.#facts.settings;
  }

  /** Why a peer that says `hello` must not take part, or `undefined` if it may. */
  admit(hello: PeerHello): { readonly error: ErrorName; readonly message: string } | undefined {
    const { clusterId, incarnations, nodes } = this.#facts;
    const { self, lease } = this.#parts;
    const wrongCluster = (message: string) => ({ error: "WRONG_CLUSTER", message }) as const;
    if (this.#isRemoved(hello) && !this.#isHeld(hello.node)) {
      return removed(hello.node);
    }
    const own = this.hello().members;
    const founds = hello.members.length > 0 && own.length > 0 && nodes[hello.node] === undefined;
    if (founds && hello.members.join() !== own.join()) {
      return wrongCluster(
        `${hello.node} was started with --peers ${hello.members.join(", ")}, ${self} with ${own.join(", ")}`,
      );
    }
    const fault = differenceOf(this.#settings, hello.settings);
    if (fault !== undefined) {
      return wrongCluster(`${hello.node} was started with ${fault.other}, ${self} with ${fault.own}`);
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
    // Before the system group has bound a member, this node remembers whom it has let in.
    const { founding } = this.#parts;
    const known =
      incarnations[hello.node] ?? founding.noted[hello.node] ?? this.#seen.get(hello.node)?.incarnation;
    if (known !== undefined && known !== hello.incarnation) {
      return {
        error: "WRONG_INCARNATION",
        message: wipedMessage(hello.node, hello.incarnation, known),
      };
    }
    const { incarnation, address, labels } = hello;
    // Before it counts for anything.
    if (clusterId === "" && !founding.note(hello.node, incarnation)) {
      return {
        error: "UNAVAILABLE",
        message: `the disk of ${self} is full: it can't note who ${hello.node} is`,
      };
    }
    this.#seen.set(hello.node, { incarnation, address, labels });
    this.#refusals.delete(hello.node);
    this.#noteClaim(hello.node, address);
    return undefined;
  }

  /** Why a node that this one does not know can't be its peer: not yet, where it may belong to the cluster. */
  refusalOf(hello: PeerHello): { readonly error: ErrorName; readonly message: string } {
    const { node, clusterId } = hello;
    const { self } = this.#parts;
    const { clusterId: own } = this.#facts;
    if (this.#isRemoved(hello)) return removed(node);
    const isStrange = own !== "" && clusterId !== own;
    return isStrange
      ? { error: "WRONG_CLUSTER", message: `${node} is not a member of the cluster of ${self}` }
      : { error: "UNAVAILABLE", message: `${self} has not heard of ${node} yet` };
  }

  /** Whether who says this was removed. One of another cluster may have the name of one that was. */
  #isRemoved({ node, clusterId }: PeerHello): boolean {
    const { nodes, clusterId: own } = this.#facts;
    return nodes[node]?.state === "removed" && (clusterId === "" || clusterId === own);
  }

  /**
   * `by` says that this node can't take part as what it claims to be. A sentence once that is hopeless: one that was removed
   * never comes back, and one that has lost its data, or belongs elsewhere, can't take part at all once too few members are
   * left for a majority.
   */
  refused(by: NodeId, error: ErrorName, message: string): string | undefined {
    if (error === "REMOVED") return `this node was removed: ${by} says that ${message}`;
    if (error !== "WRONG_CLUSTER" && error !== "WRONG_INCARNATION") return undefined;
    this.#refusals.set(by, message);
    const { length } = this.nodes;
    return length - this.#refusals.size > length / 2 ? undefined : `${by} refuses this node: ${message}`;
  }

  /** What the system group's leader should propose so that its facts catch up with what it has seen. */
  missingFacts(newClusterId: () => string): readonly SystemCommand[] {
    const { clusterId, nodes, incarnations } = this.#facts;
    if (clusterId === "") return [this.#founding(newClusterId())];
    const missing: SystemCommand[] = [];
    for (const [node, { incarnation, address, labels }] of this.#seen) {
      const fact = nodes[node];
      if (fact === undefined || fact.state === "removed") continue;
      const isKnown = fact.address === address && JSON.stringify(fact.labels) === JSON.stringify(labels);
      if (isKnown && incarnations[node] !== undefined) continue;
      const command: SystemCommand = { kind: "admit", node, incarnation, address, labels };
      if (faultOf(this.#facts, command) === undefined) missing.push(command);
    }
    return missing;
  }

  #founding(clusterId: string): SystemCommand {
    const { self, incarnation, founders, founding, settings, place } = this.#parts;
    const placed = founders.map(({ id, address }) => {
      const seen = this.#seen.get(id);
      return { id, address: seen?.address ?? address, labels: seen?.labels ?? {} };
    });
    const nodes = placed.map(({ id, address, labels }): [string, NodeFact] => [
      id,
      { address, labels, state: "member", successor: "" },
    ]);
    // This node takes part, so all have met.
    const incarnations = { ...founding.noted, [self]: incarnation };
    return {
      kind: "found",
      ...{ clusterId, settings, nodes: Object.fromEntries(nodes), incarnations },
      sets: place(placed, settings),
      systemVoters: firstVoters(founders.map(({ id }) => id)),
    };
  }

  /** How the system group takes in a node that wants to join, or why it can't. */
  admission({
    node,
    incarnation,
    address,
    labels,
  }: Join): SystemCommand | { readonly error: ErrorName; readonly message: string } {
    const command: SystemCommand = { kind: "admit", node, incarnation, address, labels };
    const message = faultOf(this.#facts, command);
    if (message === undefined) return command;
    if (this.#facts.nodes[node]?.state === "removed") return { error: "REMOVED", message };
    const bound = this.#facts.incarnations[node];
    return bound === undefined || bound === incarnation
      ? { error: "BAD_REQUEST", message }
      : { error: "WRONG_INCARNATION", message: wipedMessage(node, incarnation, bound) };
  }

  /** What to tell a node that has joined; `undefined` while it has not. */
  joined({ node, incarnation, address }: Join): JoinedCluster | undefined {
    const { clusterId, settings, nodes, incarnations } = this.#facts;
    const fact = nodes[node];
    if (incarnations[node] !== incarnation || fact?.address !== address || fact.state === "removed") {
      return undefined;
    }
    return { clusterId, ...settings, nodes: this.nodes.map(({ id, address: at }) => ({ id, address: at })) };
  }

  /** What a change asks of the system group, or why it can't be, as a sentence. */
  change(request: ChangeMember): SystemCommand | string {
    const { node, successor } = request;
    const command: SystemCommand = { kind: "state", node, state: stateAfter(request), successor };
    if (request.action === "replace" && successor === "")
      return "a replacement takes the node to replace it with";
    return faultOf(this.#facts, command) ?? command;
  }

  /** Whether a change that was asked for is what the cluster knows. */
  isDone(request: ChangeMember): boolean {
    const fact = this.#facts.nodes[request.node];
    return fact?.state === stateAfter(request) && fact.successor === request.successor;
  }
}

/** Who votes in the system group at first. */
export function firstVoters(founders: readonly NodeId[]): readonly NodeId[] {
  const count = Math.min(founders.length, SYSTEM_VOTERS_MAX);
  return founders.slice(0, count % 2 === 0 ? Math.max(count - 1, Math.min(count, 2)) : count);
}

function stateAfter({ action }: ChangeMember): NodeState {
  if (action === "drain") return "draining";
  return action === "undrain" ? "member" : "removed";
}

function removed(node: NodeId): { readonly error: ErrorName; readonly message: string } {
  return { error: "REMOVED", message: `${node} was removed from the cluster, for good` };
}

function differenceOf(
  own: Settings,
  other: Settings,
): { readonly own: string; readonly other: string } | undefined {
  const flags = { shards: "--shards", replicas: "--replicas", virtualNodes: "--virtual-nodes" } as const;
  for (const key of ["shards", "replicas", "virtualNodes"] as const) {
    if (own[key] === other[key]) continue;
    return { own: `${flags[key]} ${own[key]}`, other: `${flags[key]} ${other[key]}` };
  }
  return undefined;
}

function wipedMessage(node: NodeId, incarnation: string, known: string): string {
  return (
    `${node} is a member already, and came with another data directory than the cluster knows it by (incarnation ` +
    `${incarnation}, not ${known}): what it had acknowledged is not there, so it can't act as its old self. Start it ` +
    `with its own data directory; or, if that is lost, under another name with --join, and have that take its place: ` +
    `cli replace ${node} <new name>`
  );
}
