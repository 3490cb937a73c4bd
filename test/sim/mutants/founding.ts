/** Bugs of a cluster's first moments, when founders lose their disks. */
import { type Mutant, mutant } from "./mutant.ts";

const FOUNDING = "src/cluster/founding.ts";

export const FOUNDING_MUTANTS: readonly Mutant[] = [
  mutant(
    "founders-take-part-before-all-have-met",
    FOUNDING,
    "    return this.#others.length === 0 || this.#state.isNotedByAll;\n",
    "    return true;\n",
  ),
  mutant(
    "what-founders-noted-does-not-count",
    "src/cluster/membership.ts",
    "      incarnations[hello.node] ?? founding.noted[hello.node] ?? this.#seen.get(hello.node)?.incarnation;\n",
    "      incarnations[hello.node];\n",
  ),
];
