/** Bugs of snapshots that are sent in many parts, of which some are lost, come late, or belong to a stream that was given up. */
import { type Mutant, mutant } from "./mutant.ts";

const RECEIVER = "src/shard/snapshot-receiver.ts";
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
];
