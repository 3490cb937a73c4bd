/** Bugs of replicas that come to a node and go. */
import { type Mutant, mutant } from "./mutant.ts";

export const REPLICA_MUTANTS: readonly Mutant[] = [
  mutant("replica-comes-back-without-a-floor", "src/cluster/replicas.ts", "            floor,\n", ""),
  mutant(
    "term-goes-with-the-replica",
    "src/shard/group-log.ts",
    "this.hardState = { ...this.hardState, commit: INDEX_ZERO };",
    "this.hardState = EMPTY_HARD_STATE;",
  ),
  mutant(
    "replica-goes-while-it-is-needed",
    "src/cluster/replicas.ts",
    "!replica.isLeftBehindBy(set.actual)",
    "replica.isLeader",
  ),
  mutant(
    "data-go-before-the-note-is-durable",
    "src/shard/replica-removals.ts",
    "    this.#noted.push(group);\n",
    "    this.#clear([group]);\n",
  ),
  mutant(
    "start-forgets-what-was-being-destroyed",
    "src/shard/shard-host.ts",
    "if (this.#parts.logStore.group(group).mustClear) this.#removals.resume(group);",
    "",
  ),
  mutant(
    "report-of-what-is-not-committed",
    "src/shard/shard.ts",
    "if (!this.isLeader || isJoint(configuration) || index > this.#state.index) return undefined;",
    "if (!this.isLeader || isJoint(configuration)) return undefined;",
  ),
  mutant(
    "copy-gets-a-vote",
    "src/cluster/membership.ts",
    "return { voters: [...set.wanted].sort(), learners: withoutVote(set).sort() };",
    "return { voters: [...set.wanted, ...withoutVote(set)].sort(), learners: [] };",
  ),
  mutant(
    "copy-is-taken-for-one-that-goes",
    "src/cluster/membership.ts",
    "return { voters: [...set.wanted].sort(), learners: withoutVote(set).sort() };",
    "return { voters: [...set.wanted].sort(), learners: [] };",
  ),
  // That a seal of a former replica says how far the group is flushed is no bug of what the node does: there is no other
  // replica before the former one's data are gone, for which every seal before has to be flushed, and the one that comes
  // then says for itself how far it is. It only holds back the time at which keys have expired.
  mutant("gone-replica-is-sealed", "src/shard/seal-tracker.ts", "    this.#shards.delete(shard);\n", ""),
];
