import type { NodeId } from "../../protocol/ids.ts";
import type { Configuration } from "../../protocol/peer-messages.ts";
import { type VoteResult, voteResult } from "./quorum.ts";

/** The votes of one election, or of the question before it (Raft §5.2, thesis §9.6). */
export class Ballot {
  readonly #configuration: Configuration;
  readonly #granted = new Set<NodeId>();
  readonly #refused = new Set<NodeId>();

  /** A ballot among the voters of `configuration` in which `candidate` votes for itself. */
  constructor(configuration: Configuration, candidate: NodeId) {
    this.#configuration = configuration;
    this.#granted.add(candidate);
  }

  /** Notes the first answer of `voter`; what it says again is not counted twice. */
  record(voter: NodeId, granted: boolean): void {
    if (this.#granted.has(voter) || this.#refused.has(voter)) return;
    (granted ? this.#granted : this.#refused).add(voter);
  }

  /** `lost`: so many refused that the rest can't make a majority. */
  get result(): VoteResult {
    return voteResult(this.#configuration, this.#granted, this.#refused);
  }
}
