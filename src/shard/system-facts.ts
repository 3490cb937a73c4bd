/**
 * What the system group agrees on: what the cluster is called, who its nodes are, and which of them hold which shard. Every
 * node has a copy. The facts say what is wanted; the groups of the shards follow by themselves, and their leaders report
 * what has come of it.
 *
 * `version` grows by one with every change. All limits are checked here, before anything is taken over, so that what one
 * replica refuses all refuse.
 */
import { CONFIGURATION_NODES_MAX } from "../../protocol/configuration.ts";
import type { NodeId } from "../../protocol/ids.ts";
import { SHARDS_MAX } from "../../protocol/limits.ts";
import type { Configuration } from "../../protocol/peer-messages.ts";
import {
  dictionary,
  list,
  node,
  oneOf,
  record,
  type Shape,
  text,
  whole as wholeUpTo,
} from "../../protocol/shape.ts";
import {
  faultOfKeyspace,
  type KeyspaceCommand,
  type KeyspaceFacts,
  keyspaceFactsShape,
  NO_KEYSPACES,
} from "./keyspaces.ts";

/**
 * `draining`: it gets no more replicas, and those that it has go to others. `removed`: so too, and when it has none it is
 * spoken with no more; its name is never used again.
 */
export type NodeState = "member" | "draining" | "removed";

export interface NodeFact {
  /** `host:port`, where the others and clients reach it. */
  readonly address: string;
  /** What it shares with other nodes and fails with: `host`, `zone`; and how much it carries beside others: `weight`. */
  readonly labels: Readonly<Record<string, string>>;
  readonly state: NodeState;
  /** Who shall have its replicas when it goes; "" where that is left open. */
  readonly successor: NodeId | "";
}

/** A group's members by an entry that is committed, as a leader of `term` has told. */
export interface Actual extends Configuration {
  readonly term: number;
  /** Of the entry; 0 for what the group was founded with. */
  readonly index: number;
}

export interface ReplicaSet {
  /** Whom the group was founded with; never changes. */
  readonly first: readonly NodeId[];
  /** Who shall vote in its group; the first of them should lead it. */
  readonly wanted: readonly NodeId[];
  /**
   * Who shall have a copy without a vote, and keep it: an operator's wish. Who is among the wanted as well votes, or is to, and has
   * only its copy again when somebody else can. Members only, each once.
   */
  readonly copies: readonly NodeId[];
  /** Of those who are among both: who was promoted. Its copy is no wish any more once it has its vote. */
  readonly promoted: readonly NodeId[];
  /** The version of the facts when `wanted` or `copies` was last changed. */
  readonly version: number;
  readonly actual: Actual;
}

/** Given when the cluster is founded. */
export interface Settings {
  readonly shards: number;
  /** How many nodes hold each shard, where there are so many. */
  readonly replicas: number;
  /** How many places each node has on the ring. */
  readonly virtualNodes: number;
}

export interface SystemFacts {
  /** Of what the facts are now; 0 before the cluster is founded. */
  readonly version: number;
  /** Hexadecimal; empty until the cluster was founded. */
  readonly clusterId: string;
  readonly settings: Settings;
  /** By node: which data directory it came with. */
  readonly incarnations: Readonly<Record<string, string>>;
  /** By id. */
  readonly nodes: Readonly<Record<string, NodeFact>>;
  /** By shard. */
  readonly shards: readonly ReplicaSet[];
  /** Who shall vote in the system group; all other nodes learn. */
  readonly systemVoters: readonly NodeId[];
  readonly keyspaces: KeyspaceFacts;
}

export const NO_FACTS: SystemFacts = {
  version: 0,
  clusterId: "",
  settings: { shards: 0, replicas: 0, virtualNodes: 0 },
  incarnations: {},
  nodes: {},
  shards: [],
  systemVoters: [],
  keyspaces: NO_KEYSPACES,
};

const label = dictionary(text, text);
const nodeList = list(node);
const whole = wholeUpTo(0, Number.MAX_SAFE_INTEGER);

/** What is to be a dump, and comes from another node. */
export const factsShape: Shape<SystemFacts> = record<SystemFacts>({
  version: whole,
  clusterId: text,
  settings: record<Settings>({ shards: whole, replicas: whole, virtualNodes: whole }),
  incarnations: dictionary(node, text),
  nodes: dictionary(
    node,
    record<NodeFact>({
      address: text,
      labels: label,
      state: oneOf("member", "draining", "removed"),
      successor: (value, path) => (value === "" ? "" : node(value, path)),
    }),
  ),
  shards: list(
    record<ReplicaSet>({
      ...{ first: nodeList, wanted: nodeList, copies: nodeList, promoted: nodeList, version: whole },
      actual: record<Actual>({
        ...{ term: whole, index: whole, voters: nodeList, outgoing: nodeList, learners: nodeList },
      }),
    }),
  ),
  systemVoters: nodeList,
  keyspaces: keyspaceFactsShape,
});

export type SystemCommand =
  /** Names the cluster, its founders and who holds what; only the first of these has an effect. */
  | {
      readonly kind: "found";
      readonly clusterId: string;
      readonly settings: Settings;
      readonly nodes: Readonly<Record<string, NodeFact>>;
      readonly incarnations: Readonly<Record<string, string>>;
      /** By shard. */
      readonly sets: readonly (readonly NodeId[])[];
      readonly systemVoters: readonly NodeId[];
    }
  /** Takes a node in, bound to its data directory; or notes where it is now, and its labels. */
  | {
      readonly kind: "admit";
      readonly node: NodeId;
      readonly incarnation: string;
      readonly address: string;
      readonly labels: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "state";
      readonly node: NodeId;
      readonly state: NodeState;
      readonly successor: NodeId | "";
    }
  /** Changes who shall hold shards; a change that is not of the set's version is passed over. */
  | { readonly kind: "wanted"; readonly changes: readonly WantedChange[] }
  | { readonly kind: "systemVoters"; readonly voters: readonly NodeId[] }
  /** Notes what leaders have told; what is not newer than what is known is passed over. */
  | { readonly kind: "actual"; readonly reports: readonly Report[] }
  | KeyspaceCommand;

export interface WantedChange {
  readonly shard: number;
  /** Of the set that was looked at. */
  readonly version: number;
  readonly wanted: readonly NodeId[];
  /** Left as they are, where it does not say. */
  readonly copies?: readonly NodeId[];
  /** Those of the copies that are to end when their nodes vote. */
  readonly promoted?: readonly NodeId[];
}

export interface Report extends Actual {
  readonly shard: number;
}

/** Most names that are ever used, those of removed nodes included. */
export const NAMES_MAX = 8192;
/** Most who vote in the system group. */
export const SYSTEM_VOTERS_MAX = 5;
/** Most nodes that shall vote in a shard, and most that shall have a copy without a vote. */
export const REPLICAS_MAX = 16;
export const VIRTUAL_NODES_MAX = 10_000;
const LABELS_MAX = 16;
const WEIGHT_MIN = 0.1;
const WEIGHT_MAX = 100;
const LABEL_NAME = /^[a-z][a-z0-9_-]{0,31}$/;
const LABEL_VALUE = /^[\x21-\x7e]{1,128}$/;
const ADDRESS_CHARACTERS_MAX = 262;

/** Why a node can't have these labels, or `undefined`. */
export function faultOfLabels(labels: Readonly<Record<string, string>>): string | undefined {
  const names = Object.keys(labels);
  if (names.length > LABELS_MAX) return `${names.length} labels, at most ${LABELS_MAX} are possible`;
  for (const name of names) {
    if (!LABEL_NAME.test(name)) {
      return `a label is called "${name}": 1 to 32 of a-z, 0-9, _ and -, and a letter first`;
    }
    if (!LABEL_VALUE.test(labels[name]!)) {
      return `the label ${name} is "${labels[name]}": 1 to 128 characters without blanks are possible`;
    }
  }
  if (weightOf(labels) === undefined) {
    return `the label weight is "${labels.weight}": a number from ${WEIGHT_MIN} to ${WEIGHT_MAX} is possible`;
  }
  return undefined;
}

/** How much a node carries beside one without the label `weight`; `undefined` where that is no such number. */
export function weightOf({ weight = "1" }: Readonly<Record<string, string>>): number | undefined {
  const number = /^\d{1,3}(\.\d{1,3})?$/.test(weight) ? Number(weight) : Number.NaN;
  return number >= WEIGHT_MIN && number <= WEIGHT_MAX ? number : undefined;
}

/** Why a cluster can't be founded with these settings, or `undefined`. */
export function faultOfSettings({ shards, replicas, virtualNodes }: Settings): string | undefined {
  const isWhole = (value: number, max: number) => Number.isInteger(value) && value >= 1 && value <= max;
  if (!isWhole(shards, SHARDS_MAX) || (shards & (shards - 1)) !== 0) {
    return `${shards} shards: a power of two up to ${SHARDS_MAX} is possible`;
  }
  if (!isWhole(replicas, REPLICAS_MAX)) return `${replicas} replicas: 1 to ${REPLICAS_MAX} are possible`;
  if (!isWhole(virtualNodes, VIRTUAL_NODES_MAX)) {
    return `${virtualNodes} virtual nodes: 1 to ${VIRTUAL_NODES_MAX} are possible`;
  }
  return undefined;
}

/** Why a command can't have an effect, or `undefined` if it can. Parts of one that are out of date are no fault. */
export function faultOf(facts: SystemFacts, command: SystemCommand): string | undefined {
  if (command.kind === "found") return faultOfFounding(facts, command);
  if (facts.clusterId === "") return "the cluster is not founded yet";
  switch (command.kind) {
    case "admit":
      return faultOfAdmission(facts, command);
    case "state":
      return faultOfState(facts, command);
    case "wanted":
      for (const { shard, wanted, copies = [] } of command.changes) {
        if (facts.shards[shard] === undefined) return `there is no shard ${shard}`;
        const fault = faultOfNodes(facts, wanted, REPLICAS_MAX) ?? faultOfCopies(facts, copies);
        if (fault !== undefined) return `shard ${shard}: ${fault}`;
      }
      return undefined;
    case "systemVoters":
      return faultOfNodes(facts, command.voters, SYSTEM_VOTERS_MAX);
    case "actual": {
      const stranger = command.reports.find(({ shard }) => facts.shards[shard] === undefined);
      return stranger === undefined ? undefined : `there is no shard ${stranger.shard}`;
    }
    case "createKeyspace":
      return faultOfKeyspace(facts.keyspaces, command.name);
    case "dropKeyspace":
      return undefined;
  }
}

function faultOfFounding(
  facts: SystemFacts,
  { settings, nodes, sets, systemVoters }: Extract<SystemCommand, { kind: "found" }>,
): string | undefined {
  if (facts.clusterId !== "") return "the cluster is founded already";
  const founded = { ...facts, nodes };
  const fault = faultOfSettings(settings) ?? faultOfNodes(founded, systemVoters, SYSTEM_VOTERS_MAX);
  if (fault !== undefined) return fault;
  if (sets.length !== settings.shards) return `${sets.length} replica sets of ${settings.shards} shards`;
  for (const set of sets) {
    const wrong = faultOfNodes(founded, set, REPLICAS_MAX);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function faultOfAdmission(
  { nodes, incarnations }: SystemFacts,
  { node, incarnation, address, labels }: Extract<SystemCommand, { kind: "admit" }>,
): string | undefined {
  const known = nodes[node];
  if (known?.state === "removed") {
    return `${node} was removed from the cluster, for good: a name can't be used for another node`;
  }
  const bound = incarnations[node];
  if (bound !== undefined && bound !== incarnation) {
    return `${node} is a member already, at ${known?.address}, and came with another data directory (incarnation ${bound}, not ${incarnation})`;
  }
  if (address === "" || address.length > ADDRESS_CHARACTERS_MAX) return `"${address}" is no address`;
  if (known === undefined) {
    const members = Object.values(nodes).filter(({ state }) => state !== "removed").length;
    if (members >= CONFIGURATION_NODES_MAX) {
      return `there are ${CONFIGURATION_NODES_MAX} nodes already, and can't be more`;
    }
    if (Object.keys(nodes).length >= NAMES_MAX) {
      return `${NAMES_MAX} names were used, those of removed nodes included: there can't be more`;
    }
  }
  return faultOfLabels(labels);
}

function faultOfState(
  { nodes }: SystemFacts,
  { node, state, successor }: Extract<SystemCommand, { kind: "state" }>,
): string | undefined {
  const known = nodes[node];
  if (known === undefined) return `there is no node ${node}`;
  if (known.state === "removed") return `${node} was removed already, for good`;
  if (known.state === state && known.successor === successor) return `${node} is ${state} already`;
  if (successor !== "" && (successor === node || nodes[successor]?.state !== "member")) {
    return `${successor} can't take the place of ${node}: it has to be another node, and a member that stays`;
  }
  if (state === "member") return undefined;
  const stays = Object.keys(nodes).some((other) => other !== node && nodes[other]!.state === "member");
  return stays ? undefined : `${node} is the only node that stays: there would be nobody to hold its data`;
}

/** Why `list` can't be the nodes that hold something, or `undefined`. */
function faultOfNodes(facts: SystemFacts, list: readonly NodeId[], max: number): string | undefined {
  if (list.length === 0 || list.length > max) return `${list.length} nodes, 1 to ${max} are possible`;
  return faultOfNames(facts, list);
}

/** Why `list` can't be the nodes that have a copy without a vote, or `undefined`. */
function faultOfCopies(facts: SystemFacts, list: readonly NodeId[]): string | undefined {
  if (list.length > REPLICAS_MAX) {
    return `${list.length} copies without a vote, at most ${REPLICAS_MAX} are possible`;
  }
  return faultOfNames(facts, list);
}

function faultOfNames({ nodes }: SystemFacts, list: readonly NodeId[]): string | undefined {
  for (const [at, node] of list.entries()) {
    if (nodes[node] === undefined) return `there is no node ${node}`;
    if (list.indexOf(node) !== at) return `${node} is named twice`;
  }
  return undefined;
}

/** Who shall have a copy and, as things are, no vote; in the order of the wishes. */
export function withoutVote({ wanted, copies }: Pick<ReplicaSet, "wanted" | "copies">): NodeId[] {
  return copies.filter((node) => !wanted.includes(node));
}

/** Whether `node` is, or shall be, among those who hold the shard. */
export function isNamed(set: ReplicaSet, node: NodeId): boolean {
  return namedIn(set).includes(node);
}

/** Who holds the shard, or shall; some of them twice. */
export function namedIn({ wanted, copies, actual }: ReplicaSet): readonly NodeId[] {
  return [...wanted, ...copies, ...actual.voters, ...actual.outgoing, ...actual.learners];
}
