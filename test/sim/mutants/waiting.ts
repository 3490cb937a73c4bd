/** Bugs of the bounds on what waits in a node. */
import { type Mutant, mutant } from "./mutant.ts";

const FORWARDER = "src/modes/forwarder.ts";

export const WAITING_MUTANTS: readonly Mutant[] = [
  mutant(
    "writes-wait-without-bound",
    "src/shard/shard.ts",
    "if (writes.waiting >= this.#parts.limits.waitingRequestsMax) {",
    "if (writes.waiting < 0) {",
  ),
  mutant(
    "forwarded-requests-wait-without-bound",
    FORWARDER,
    "if (this.#heldBytes > 0 && this.#heldBytes + bytes > this.#limits.bytesMax) {",
    "if (this.#heldBytes < 0) {",
  ),
  mutant("what-was-forwarded-counts-for-ever", FORWARDER, "    this.#heldBytes -= slot.bytes;\n", ""),
];
