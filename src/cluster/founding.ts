import type { NodeId } from "../../protocol/ids.ts";
import type { Log } from "../env/env.ts";

export interface FoundingParts {
  readonly self: NodeId;
  /** All of them, this node included; nobody of a node that joins a cluster. */
  readonly founders: readonly NodeId[];
  /** What was written when this node ran last. */
  readonly state: FoundingState;
  readonly log: Pick<Log, "info">;
  /** Writes the state durably, beside the data. False: not now, the disk is full. */
  readonly write: (state: FoundingState) => boolean;
}

/** What a founder has to know again when it is restarted before the cluster is founded. */
export interface FoundingState {
  /** The incarnations of the other founders that were let in: another one under the same name has lost its disk. */
  readonly noted: Readonly<Record<string, string>>;
  /** Every other founder has noted this node. */
  readonly isNotedByAll: boolean;
}

export const NOTHING_NOTED: FoundingState = { noted: {}, isNotedByAll: false };

/**
 * The first moments of a cluster, before its system group has agreed on which data directory each node came with. A founder
 * whose disk is lost then, and that comes back with an empty one under the same name, may have promised something that it
 * does not know of any more: a vote, or that it has an entry on disk. Two nodes that never met its old self can't tell
 * it from one that starts for the first time, and would make a majority with it that has forgotten what another one
 * acknowledged.
 *
 * So a founder takes no part in anything, neither votes nor acknowledges nor stands, before every other founder has
 * durably noted its incarnation. Who comes back empty after it took part finds one at least who refuses it, as long as one
 * other founder has kept its disk; and so it never takes part again.
 */
export class Founding {
  readonly #parts: FoundingParts;
  readonly #others: readonly NodeId[];
  /** Those that have let this node in since it was started, and have noted it before they did. */
  readonly #notedBy = new Set<NodeId>();
  #state: FoundingState;
  #told = "";

  constructor(parts: FoundingParts) {
    this.#parts = parts;
    this.#others = parts.founders.filter((node) => node !== parts.self);
    this.#state = parts.state;
  }

  /** Whether this node may take part: nobody could take its place unnoticed. */
  get mayTakePart(): boolean {
    return this.#others.length === 0 || this.#state.isNotedByAll;
  }

  /** The founders that have not noted this node yet, as far as it knows. */
  get missing(): readonly NodeId[] {
    return this.mayTakePart ? [] : this.#others.filter((node) => !this.#notedBy.has(node));
  }

  /** By founder: with which incarnation it is known, this node's own aside. */
  get noted(): Readonly<Record<string, string>> {
    return this.#state.noted;
  }

  /** Notes the incarnation of a founder that is let in for the first time. False if that could not be written. */
  note(node: NodeId, incarnation: string): boolean {
    if (!this.#others.includes(node) || this.noted[node] !== undefined) return true;
    const state = { ...this.#state, noted: { ...this.noted, [node]: incarnation } };
    if (!this.#parts.write(state)) return false;
    this.#state = state;
    return true;
  }

  /** `node`, which this one has called, has let it in: it has noted it. */
  wasLetInBy(node: NodeId): void {
    if (this.mayTakePart) return;
    this.#notedBy.add(node);
    if (this.missing.length > 0) return;
    const state = { ...this.#state, isNotedByAll: true };
    // Asked again with the next connection otherwise.
    if (this.#parts.write(state)) this.#state = state;
  }

  /** Says in the log who is waited for, if it did not yet. */
  tellMissing(): void {
    const { missing } = this;
    if (missing.join() === this.#told) return;
    this.#told = missing.join();
    this.#parts.log.info("a new cluster begins when all its founders have met once: waits for others", {
      missing,
    });
  }
}
