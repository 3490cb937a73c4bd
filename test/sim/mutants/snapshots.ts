/**
 * Bugs of snapshots that are sent in many parts, of which some are lost, come late, or belong to a stream that was given up;
 * of streams that go on after a break; and of what takes the place of a replica's data and log in one step.
 */
import { type Mutant, mutant } from "./mutant.ts";

const RECEIVER = "src/shard/snapshot-receiver.ts";
const SENDER = "src/shard/snapshot-sender.ts";
const NO_DIGEST = { find: "if (digest !== part.digest) {", replace: "if (digest === -1) {" };

export const SNAPSHOT_MUTANTS: readonly Mutant[] = [
  mutant(
    "what-a-dropped-stream-left-stays",
    RECEIVER,
    "    this.#space?.clearOther();\n    const reader",
    "    const reader",
  ),
  {
    name: "lost-parts-are-not-missed",
    file: RECEIVER,
    edits: [
      { find: "if (part.part !== stream.next) return", replace: "if (part.part < stream.next) return" },
      { find: "stream.next++", replace: "stream.next = part.part + 1" },
      NO_DIGEST,
    ],
  },
  {
    name: "a-later-stream-goes-on-where-the-dropped-one-ended",
    file: RECEIVER,
    edits: [
      {
        find: "if (stream.from === from && stream.term === term && stream.number === number) return stream;",
        replace: "if (stream.from === from && stream.term === term) return stream;",
      },
      NO_DIGEST,
    ],
  },
  mutant(
    "what-a-break-lost-is-not-sent-again",
    SENDER,
    "    for (const part of this.#window) this.#send(part);\n",
    "",
  ),
  mutant(
    "a-part-is-let-go-before-it-is-acknowledged",
    SENDER,
    "this.#window[taken]!.part < next",
    "this.#window[taken]!.part <= next",
  ),
  mutant(
    "log-begins-anew-before-the-snapshot-is-durable",
    "src/shard/installation.ts",
    "    this.#installing = installing;\n",
    "    this.#installing = installing;\n    installing.isDurable = true;\n    done();\n",
  ),
  mutant(
    "log-of-before-the-snapshot-stays-after-a-crash",
    "src/shard/shard.ts",
    "if (base.index > log.compacted.index && log.term(base.index) !== base.term) {",
    "if (base.index < 0) {",
  ),
  mutant(
    "which-half-is-in-use-is-not-kept",
    "src/shard/applied-state.ts",
    "half: this.#parts.space?.half ?? 0,",
    "half: 0,",
  ),
];
