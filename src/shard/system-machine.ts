/**
 * The system group's state: what the cluster is called, who its nodes are, and which data directory each of them came
 * with. A node that shows up with another directory has lost what it promised (votes, acknowledged entries), so it must
 * not speak under its old name.
 *
 * Who the nodes are is said here once for all groups; each group's leader sees to it that its group follows.
 */
import { CONFIGURATION_NODES_MAX } from "../../protocol/configuration.ts";
import type { NodeId } from "../../protocol/ids.ts";
import { decodePlain, encodePlain } from "../../protocol/plain.ts";
import { dictionary, node, oneOf, record, type Shape, text } from "../../protocol/shape.ts";
import type { CommandBatchReader } from "./command-batch.ts";
import {
  afterCommand,
  type KeyspaceCommand,
  type KeyspaceFacts,
  keyspaceFactsShape,
  NO_KEYSPACES,
} from "./keyspaces.ts";
import type { AnswerReceiver, StateMachine } from "./state-machine.ts";

/** A `learner` gets copies of everything and has no vote. Who is `removed` was a member, and never will be again. */
export interface NodeFact {
  /** `host:port`, where the others reach it. */
  readonly address: string;
  readonly role: "voter" | "learner" | "removed";
}

export type SystemCommand =
  /** Names the cluster and its founders; only the first of these has an effect. */
  | {
      readonly kind: "found";
      readonly clusterId: string;
      readonly nodes: Readonly<Record<string, NodeFact>>;
    }
  /** Binds a member to its data directory; only the first of these for a member has an effect. */
  | { readonly kind: "bind"; readonly node: NodeId; readonly incarnation: string }
  /** Adds a node, gives it a vote, or removes it (`faultOfChange`); without effect where that can't be. */
  | { readonly kind: "member"; readonly node: NodeId; readonly fact: NodeFact }
  | KeyspaceCommand;

export interface SystemFacts {
  /** Hexadecimal; empty until the cluster was founded. */
  readonly clusterId: string;
  readonly incarnations: Readonly<Record<string, string>>;
  /** By id; empty until the cluster was founded. */
  readonly nodes: Readonly<Record<string, NodeFact>>;
}

/** All that the group agrees on. */
export interface SystemState extends SystemFacts {
  readonly keyspaces: KeyspaceFacts;
}

/** What is to be a dump, and comes from another node. */
const systemState: Shape<SystemState> = record({
  clusterId: text,
  incarnations: dictionary(node, text),
  nodes: dictionary(node, record<NodeFact>({ address: text, role: oneOf("voter", "learner", "removed") })),
  keyspaces: keyspaceFactsShape,
});

export const NO_FACTS: SystemFacts = { clusterId: "", incarnations: {}, nodes: {} };

/** Why `node` can't become what `fact` says, or `undefined` if it can. */
export function faultOfChange({ nodes }: SystemFacts, node: NodeId, fact: NodeFact): string | undefined {
  const known = nodes[node];
  if (known?.role === "removed")
    return `${node} was removed, for good: a name can't be used for another node`;
  if (fact.role === "learner") {
    if (known !== undefined) return `${node} is a member already, at ${known.address}`;
    if (Object.values(nodes).filter(({ role }) => role !== "removed").length >= CONFIGURATION_NODES_MAX) {
      return `there are ${CONFIGURATION_NODES_MAX} members already, and can't be more`;
    }
    const sharer = Object.keys(nodes).find(
      (other) => nodes[other]!.address === fact.address && nodes[other]!.role !== "removed",
    );
    return sharer === undefined ? undefined : `${sharer} is at ${fact.address} already`;
  }
  if (known === undefined) return `${node} is no member`;
  if (fact.role === "voter") return known.role === "voter" ? `${node} has a vote already` : undefined;
  const voters = Object.keys(nodes).filter((other) => other !== node && nodes[other]!.role === "voter");
  return voters.length === 0 ? `${node} is the only one with a vote` : undefined;
}

export class SystemMachine implements StateMachine {
  /** Nothing in here expires. */
  readonly horizonMs = 0;
  #facts: SystemState = { ...NO_FACTS, keyspaces: NO_KEYSPACES };
  readonly #changed: (facts: SystemState) => void;

  /** `changed` is called after each change, also by `restore`. */
  constructor(changed: (facts: SystemState) => void) {
    this.#changed = changed;
  }

  get facts(): SystemState {
    return this.#facts;
  }

  apply(commands: CommandBatchReader, _receiver: AnswerReceiver | undefined): void {
    const bytes = commands.rest();
    if (bytes.length === 0) return;
    const command = decodePlain(bytes) as SystemCommand;
    const { clusterId, incarnations, nodes } = this.#facts;
    if (command.kind === "found" && clusterId === "") {
      this.#set({ ...this.#facts, clusterId: command.clusterId, nodes: command.nodes });
    } else if (command.kind === "bind" && incarnations[command.node] === undefined) {
      this.#set({
        ...this.#facts,
        incarnations: { ...incarnations, [command.node]: command.incarnation },
      });
    } else if (command.kind === "member") {
      if (faultOfChange(this.#facts, command.node, command.fact) !== undefined) return;
      this.#set({ ...this.#facts, nodes: { ...nodes, [command.node]: command.fact } });
    } else if (command.kind === "createKeyspace" || command.kind === "dropKeyspace") {
      const keyspaces = afterCommand(this.#facts.keyspaces, command);
      if (keyspaces !== this.#facts.keyspaces) this.#set({ ...this.#facts, keyspaces });
    }
  }

  dump(): unknown {
    return this.#facts;
  }

  checkDump(dump: unknown): void {
    systemState(dump, "facts");
  }

  restore(dump: unknown): void {
    this.#set(dump as SystemState);
  }

  #set(facts: SystemState): void {
    this.#facts = facts;
    this.#changed(facts);
  }
}

/** What `SystemMachine` applies. Borrowed until the next call. */
export function encodeSystemCommand(command: SystemCommand): Uint8Array {
  return encodePlain(command);
}
