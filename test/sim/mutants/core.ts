/** Bugs of the Raft core: each breaks one rule of the paper, or of the thesis. */
import { type Mutant, mutant } from "./mutant.ts";

const RAFT = "src/raft/raft.ts";
const ELECTION = "src/raft/election.ts";
const LEADERSHIP = "src/raft/leadership.ts";
const LOG = "src/raft/log.ts";

export const CORE_MUTANTS: readonly Mutant[] = [
  mutant(
    "vote-told-before-durable",
    ELECTION,
    'this.#outbox.afterSync({\n      kind: "voteReply"',
    'this.#outbox.now({\n      kind: "voteReply"',
  ),
  mutant(
    "votes-twice-in-a-term",
    ELECTION,
    "(this.#votedFor === undefined && this.#leader === undefined)",
    "this.#leader === undefined",
  ),
  mutant(
    "vote-not-written",
    RAFT,
    "return this.term !== this.#written.term || this.#election.votedFor !== this.#written.votedFor;",
    "return this.term !== this.#written.term;",
  ),
  mutant(
    "elects-shorter-log",
    LOG,
    "lastTerm > this.#lastTerm || (lastTerm === this.#lastTerm && lastIndex >= this.#last)",
    "lastTerm >= this.#lastTerm",
  ),
  mutant(
    "elects-older-log",
    LOG,
    "lastTerm > this.#lastTerm || (lastTerm === this.#lastTerm && lastIndex >= this.#last)",
    "lastIndex >= this.#last",
  ),
  mutant(
    "counts-entries-of-earlier-terms",
    LEADERSHIP,
    "if (reached <= this.#log.commit || reached < this.#termStart) return;",
    "if (reached <= this.#log.commit) return;",
  ),
  mutant(
    "leader-counts-itself-before-its-sync",
    LEADERSHIP,
    "values[at++] = this.#log.persisted;",
    "values[at++] = this.#log.lastIndex;",
  ),
  mutant(
    "acknowledges-before-the-sync",
    RAFT,
    'this.#outbox.afterSync({\n      kind: "appendReply"',
    'this.#outbox.now({\n      kind: "appendReply"',
  ),
  // "Acknowledges its last entry" and "commits up to its last entry" are no bugs here: a leader never asks below the place
  // where the logs part, so after the first append that a follower accepts in a term its log is a beginning of the leader's.
  mutant(
    "counts-what-is-in-flight",
    LEADERSHIP,
    "if (follower.accepted(reply.index, compacted, this.#now)) this.advanceCommit();",
    "if (follower.accepted(indexPlus(follower.next, -1), compacted, this.#now)) this.advanceCommit();",
  ),
  mutant(
    "commits-what-does-not-match",
    LOG,
    "if (prevIndex >= this.#commit && this.term(prevIndex) !== prevTerm) return undefined;",
    "if (prevIndex >= this.#commit && this.term(prevIndex) !== prevTerm) {\n      this.commitTo(logIndex(Math.min(request.commit, this.#last)));\n      return undefined;\n    }",
  ),
  mutant(
    "heartbeat-commits-beyond-match",
    LEADERSHIP,
    "commit: logIndex(Math.min(follower.match, this.#log.commit)),",
    "commit: this.#log.commit,",
  ),
  mutant(
    "late-append-shortens-the-log",
    LOG,
    "while (at < entries.length && this.term(indexPlus(prevIndex, at + 1)) === entries[at]!.term) at++;",
    "",
  ),
  mutant(
    "half-is-a-majority",
    "src/raft/quorum.ts",
    "return (voters >> 1) + 1;",
    "return (voters + 1) >> 1;",
  ),
  mutant(
    "reads-without-a-quorum",
    LEADERSHIP,
    "confirmed = Math.min(confirmed, reachedByMajority(values));",
    "confirmed = this.#reads.newestWaiting;",
  ),
  {
    name: "reads-before-the-terms-own-commit",
    file: LEADERSHIP,
    edits: [
      {
        find: "#grantReads(): void {\n    if (this.#log.commit < this.#termStart) return;",
        replace: "#grantReads(): void {",
      },
      {
        find: "this.#reads.grant(confirmed, this.#termStart)",
        replace: "this.#reads.grant(confirmed, logIndex(0))",
      },
    ],
  },
  mutant(
    "lease-survives-a-pause",
    "src/shard/shard.ts",
    "    this.#pausesSeen = pauses;\n    this.#core.endLease();\n",
    "    this.#pausesSeen = pauses;\n",
  ),
  mutant("cut-configuration-stays", LOG, "      this.#history.cut(index);\n", ""),
  mutant(
    "removed-leader-stays",
    LEADERSHIP,
    "return index <= this.#log.commit && !isVoter(configuration, this.#config.id);",
    "return false;",
  ),
  // Bugs that there were.
  mutant(
    "nobody-asks-who-a-stranger-is",
    "src/cluster/search.ts",
    "if (this.#metStranger) this.#askPeers();",
    "",
  ),
  mutant(
    "probed-learner-is-not-caught-up",
    LEADERSHIP,
    "    return follower.match >= this.#endBefore &&",
    '    return follower.state === "replicate" && follower.match >= this.#endBefore &&',
  ),
  mutant(
    "removed-node-is-cut-off-at-once",
    "src/cluster/membership.ts",
    'state !== "removed" || this.#isHeld(id)',
    'state !== "removed"',
  ),
  mutant(
    "leader-that-is-cut-off-sleeps-on",
    LEADERSHIP,
    "if (follower.match !== log.lastIndex || !this.#hears(follower)) return false;",
    "if (follower.match !== log.lastIndex || !this.isActive(follower)) return false;",
  ),
  mutant(
    "lost-append-is-not-sent-again",
    "src/raft/progress.ts",
    'else if (this.#state === "replicate") this.#nudge = this.#match < this.#next - 1;',
    "",
  ),
];
