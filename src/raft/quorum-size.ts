/**
 * How many make a majority, and what a majority has reached. Everything that Raft concludes from the voices of the
 * voters (an election, a commit, a confirmed read, a leader that is still heard) is one of these two questions, so a
 * membership of another shape (joint consensus, thesis §4.3) has to change this file only.
 */

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
