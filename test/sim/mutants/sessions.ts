/** Bugs of sessions, of commands, and of the answers that clients get. */
import { type Mutant, mutant } from "./mutant.ts";

const SESSIONS = "src/shard/sessions.ts";
const MACHINE = "src/shard/key-value-machine.ts";

export const SESSION_MUTANTS: readonly Mutant[] = [
  mutant("retried-write-happens-again", SESSIONS, "    session.answers.set(stamp.sequence, response);\n", ""),
  mutant(
    "sessions-are-not-in-the-tables",
    "src/shard/applied-state.ts",
    "      floor: this.#floor,\n      dump: this.#parts.machine.dump(),\n",
    "      floor: this.#floor,\n      dump: null,\n",
  ),
  mutant(
    "sessions-are-not-in-the-snapshot",
    "src/shard/applied-state.ts",
    "    this.#parts.machine.restore(head.dump);\n",
    "",
  ),
  mutant(
    "entries-are-applied-by-the-nodes-own-clock",
    "src/shard/applied-state.ts",
    "reader.timeMs = this.#logTimeMs;",
    "reader.timeMs = Math.floor(clock.wallMs());",
  ),
  mutant(
    "session-numbers-by-the-nodes-memory",
    SESSIONS,
    "    this.#next = next;\n",
    "    if (next === 0) this.#next = next;\n",
  ),
  mutant(
    "answers-of-sessions-get-lost",
    SESSIONS,
    "    return [this.#next, rows] satisfies SessionDump;",
    "    return [this.#next, rows.map(([id, used, floor]) => [id, used, floor, []] as const)] satisfies SessionDump;",
  ),
  mutant(
    "answers-for-another-leaders-entry",
    "src/shard/proposals.ts",
    "      if (first.term === entryTerm) {\n        if (first.index !== index) return undefined;\n",
    "      if (first.index === index) {\n",
  ),
  mutant(
    "reads-before-they-are-applied",
    "src/shard/read-queue.ts",
    "if (index === undefined || index > applied) continue;",
    "if (index === undefined || index > applied + 1) continue;",
  ),
  mutant(
    "swap-without-looking",
    MACHINE,
    "if (!matches) return FALSE;",
    "if (!matches && current === undefined) return FALSE;",
  ),
  mutant(
    "batch-in-halves",
    MACHINE,
    "for (const entry of command.entries)\n",
    "for (const entry of command.entries.slice(command.entries.length > 2 && this.#shard === 0 ? 1 : 0))\n",
  ),
  mutant(
    "command-does-not-see-the-one-before",
    "src/shard/apply-buffer.ts",
    "    this.commit();\n    return this.engine.getSync(key, undefined, now);",
    "    return this.engine.getSync(key, undefined, now);",
  ),
];
