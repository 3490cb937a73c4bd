/**
 * The cluster's own facts, agreed by the system group: which cluster this is, and which data directory each member came
 * with. A member that shows up with another directory has lost what it promised (votes, acknowledged entries), so it must
 * not speak under its old name.
 */
import type { NodeId } from "../../protocol/ids.ts";
import { decodePlain, encodePlain } from "../../protocol/plain.ts";
import type { CommandBatchReader } from "./command-batch.ts";
import type { AnswerReceiver, StateMachine } from "./state-machine.ts";

export type SystemCommand =
  /** Names the cluster; only the first of these has an effect. */
  | { readonly kind: "found"; readonly clusterId: string }
  /** Binds a member to its data directory; only the first of these for a member has an effect. */
  | { readonly kind: "bind"; readonly node: NodeId; readonly incarnation: string };

export interface SystemFacts {
  /** Hexadecimal; empty until the cluster was founded. */
  readonly clusterId: string;
  readonly incarnations: Readonly<Record<string, string>>;
}

export const NO_FACTS: SystemFacts = { clusterId: "", incarnations: {} };

export class SystemMachine implements StateMachine {
  #facts: SystemFacts = NO_FACTS;
  readonly #changed: (facts: SystemFacts) => void;

  /** `changed` is called after each change, also by `restore`. */
  constructor(changed: (facts: SystemFacts) => void) {
    this.#changed = changed;
  }

  get facts(): SystemFacts {
    return this.#facts;
  }

  apply(commands: CommandBatchReader, _receiver: AnswerReceiver | undefined): void {
    const bytes = commands.rest();
    if (bytes.length === 0) return;
    const command = decodePlain(bytes) as SystemCommand;
    const { clusterId, incarnations } = this.#facts;
    if (command.kind === "found" && clusterId === "") {
      this.#set({ clusterId: command.clusterId, incarnations });
    } else if (command.kind === "bind" && incarnations[command.node] === undefined) {
      this.#set({ clusterId, incarnations: { ...incarnations, [command.node]: command.incarnation } });
    }
  }

  dump(): unknown {
    return this.#facts;
  }

  restore(dump: unknown): void {
    this.#set(dump as SystemFacts);
  }

  #set(facts: SystemFacts): void {
    this.#facts = facts;
    this.#changed(facts);
  }
}

/** What `SystemMachine` applies. Borrowed until the next call. */
export function encodeSystemCommand(command: SystemCommand): Uint8Array {
  return encodePlain(command);
}
