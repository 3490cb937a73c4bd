/**
 * Bugs that the simulator found in the code that ships, put back: what once went unseen until a run met it must not come back
 * unseen. A seed of each that was caught is in `../regressions.txt`.
 */
import { type Mutant, mutant } from "./mutant.ts";

const PLAN = "src/placement/plan.ts";

export const FOUND_MUTANTS: readonly Mutant[] = [
  mutant(
    "table-goes-before-the-edit-that-drops-it-is-durable",
    "src/storage/recovery.ts",
    "  if (leftOver.some(({ parsed }) => parsed !== undefined)) makeManifestDurable(fs, directory);\n",
    "",
  ),
  mutant(
    "client-believes-that-there-are-no-shards",
    "src/client/request-runner.ts",
    'return response.kind === "topology" && response.topology.shards.length === 0;',
    'return response.kind === "topology" && response.topology.shards.length < 0;',
  ),
  {
    name: "shard-gets-smaller-while-its-newcomer-waits",
    file: PLAN,
    edits: [
      { find: "      if (waiting.has(move.shard)) continue;\n", replace: "" },
      {
        find: '  return (node.isLeaving ? 0 : 2) + (node.health === "up" ? 1 : 0);',
        replace: '  return node.isLeaving ? 0 : node.health === "up" ? 2 : 1;',
      },
    ],
  },
  mutant(
    "who-was-never-heard-counts-for-a-change",
    "src/raft/progress.ts",
    "\n  wasHeard = false;\n",
    "\n  wasHeard = true;\n",
  ),
  mutant("who-holds-a-shard-alone-is-not-waited-for", PLAN, "    if (mayHoldAll) continue;\n", ""),
  mutant(
    "who-comes-when-a-node-stops-is-one-too-many",
    "src/server/server.ts",
    "      // It came just when nobody listened any more.\n      connection.finish();\n",
    "      this.#refuse(connection, utf8(TOO_MANY));\n",
  ),
  mutant(
    "end-of-a-replaced-log-is-damage",
    "src/shard/log-store.ts",
    "    writeRestarted(this.#gathering, group, index, term);\n",
    "    writeCompacted(this.#gathering, group, index, term);\n",
  ),
  mutant(
    "replica-that-came-back-is-told-to-commit",
    "src/raft/raft.ts",
    "heartbeat.commit <= (this.#config.floor?.index ?? 0)",
    "heartbeat.commit < 0",
  ),
  mutant(
    "who-hands-over-answers-what-has-expired",
    "src/shard/shard.ts",
    "        for (const { sink, requestId } of late) sink.reply(requestId, notLeader());\n",
    "        this.#serve(late, false, nowMs);\n",
  ),
];
