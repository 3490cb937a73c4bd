/**
 * What a majority is, and what it has said or reached. Everything that Raft concludes from the voices of the voters (an
 * election, a commit, a confirmed read, a leader that is still heard) is one of these questions. While a membership is
 * being replaced there are two sets of voters, and both have to agree (joint consensus, thesis §4.3): then a decision by
 * either set alone, before or after, shares a member with every decision in between.
 */
import type { NodeId } from "../../protocol/ids.ts";
import type { Configuration } from "../../protocol/peer-messages.ts";

/** How many of `voters` are a majority: any two majorities share a member (Raft §5.2). */
export function majority(voters: number): number {
  return (voters >> 1) + 1;
}

/**
 * The greatest number that a majority has reached, one value a voter (Raft §5.3: the commit rule's "a majority of
 * matchIndex[i] ≥ N"). Sorts `values` in place, greatest first.
 */
export function reachedByMajority(values: number[]): number {
  // Insertion sort: groups have a handful of voters, and this runs for each acknowledgement.
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    let at = i;
    while (at > 0 && values[at - 1]! < value) {
      values[at] = values[at - 1]!;
      at--;
    }
    values[at] = value;
  }
  return values[majority(values.length) - 1]!;
}

export type VoteResult = "won" | "lost" | "open";

/** What an election among `configuration` has come to. Who is none of its voters counts for nothing. */
export function voteResult(
  configuration: Configuration,
  granted: ReadonlySet<NodeId>,
  refused: ReadonlySet<NodeId>,
): VoteResult {
  const result = resultAmong(configuration.voters, granted, refused);
  if (configuration.outgoing.length === 0) return result;
  const before = resultAmong(configuration.outgoing, granted, refused);
  if (result === "lost" || before === "lost") return "lost";
  return result === "won" && before === "won" ? "won" : "open";
}

function resultAmong(
  voters: readonly NodeId[],
  granted: ReadonlySet<NodeId>,
  refused: ReadonlySet<NodeId>,
): VoteResult {
  const needed = majority(voters.length);
  let yes = 0;
  let no = 0;
  for (const voter of voters) {
    if (granted.has(voter)) yes++;
    else if (refused.has(voter)) no++;
  }
  if (yes >= needed) return "won";
  return voters.length - no < needed ? "lost" : "open";
}
