/** Bugs of how leaders come to lead, of what they may do then, and of how long they may take themselves for leaders. */
import { type Mutant, mutant } from "./mutant.ts";

const ELECTION = "src/raft/election.ts";
const LEADERSHIP = "src/raft/leadership.ts";

export const ELECTION_MUTANTS: readonly Mutant[] = [
  mutant(
    "stands-without-asking",
    ELECTION,
    "if (this.#isAlone()) this.stand(false);\n    else this.#ask();",
    "this.stand(false);",
  ),
  mutant(
    "leader-stays-without-a-majority",
    "src/raft/raft.ts",
    "      if (this.#leadership.lostQuorum) this.#election.follow(this.term);\n",
    "",
  ),
  mutant(
    "live-leader-is-not-protected",
    ELECTION,
    "    if (!request.transfer && (request.term > this.#term ? this.#hearsLeader() : this.#isBound())) return;\n",
    "",
  ),
  mutant(
    "commits-by-the-new-voters-alone",
    LEADERSHIP,
    "reached = Math.min(reached, reachedByMajority(values));",
    "if (set === this.#voterSets[0]) reached = reachedByMajority(values);",
  ),
  mutant(
    "elected-by-the-new-voters-alone",
    "src/raft/quorum.ts",
    "if (configuration.outgoing.length === 0) return result;",
    "if (configuration.outgoing.length >= 0) return result;",
  ),
  mutant(
    "changes-members-before-the-terms-own-commit",
    LEADERSHIP,
    '    if (this.#log.commit < this.#termStart) return "newTerm";\n',
    "",
  ),
  mutant(
    "promise-is-forgotten-by-a-restart",
    ELECTION,
    "this.#sinceLeader = hardState.term === 0 ? config.electionTicks : 0;",
    "this.#sinceLeader = config.electionTicks;",
  ),
  mutant("lease-survives-a-handover", LEADERSHIP, "    this.#lease.giveUp();\n", ""),
  mutant("lease-is-too-long", "src/raft/lease.ts", "this.#length = length;", "this.#length = 1.5 * length;"),
  mutant(
    "any-request-for-a-vote-restarts-the-timer",
    ELECTION,
    "    const granted = free && this.#mayTrust(request);\n",
    "    const granted = free && this.#mayTrust(request);\n    this.#timer.restart();\n",
  ),
];
