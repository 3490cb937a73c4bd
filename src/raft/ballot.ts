import type { NodeId } from "../../protocol/ids.ts";
import { majority } from "./quorum-size.ts";

/** The votes of one election, or of the question before it (Raft §5.2, thesis §9.6). */
export class Ballot {
  readonly #voters: number;
  readonly #granted = new Set<NodeId>();
  readonly #refused = new Set<NodeId>();

  /** A ballot among `voters` members in which `candidate` votes for itself. */
  constructor(voters: number, candidate: NodeId) {
    this.#voters = voters;
    this.#granted.add(candidate);
  }

  /** Notes the first answer of `voter`; what it says again is not counted twice. */
  record(voter: NodeId, granted: boolean): void {
    if (this.#granted.has(voter) || this.#refused.has(voter)) return;
    (granted ? this.#granted : this.#refused).add(voter);
  }

  /** `lost`: so many refused that the rest can't make a majority. */
  get result(): "won" | "lost" | "open" {
    const needed = majority(this.#voters);
    if (this.#granted.size >= needed) return "won";
    return this.#voters - this.#refused.size < needed ? "lost" : "open";
  }
}
