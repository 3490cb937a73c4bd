/** Bugs of who moves replicas. */
import { type Mutant, mutant } from "./mutant.ts";

export const PLACEMENT_MUTANTS: readonly Mutant[] = [
  mutant(
    "any-vote-ends-a-wish",
    "src/shard/system-machine.ts",
    "const promoted = set.promoted.filter((node) => wanted.includes(node) && copies.includes(node));",
    "const promoted = copies.filter((node) => wanted.includes(node));",
  ),
  mutant(
    "vote-is-never-given-back",
    "src/placement/plan.ts",
    "return copies.length === 0 ? set : withoutSpared(set, copies, able);",
    "return set;",
  ),
  mutant(
    "votes-wait-for-who-never-comes",
    "src/cluster/placement-driver.ts",
    "if (!isSettled && canDecide && newcomers.every(canCome)) return true;",
    "if (!isSettled) return true;",
  ),
  mutant(
    "moves-wait-for-who-never-comes",
    "src/placement/plan.ts",
    "const moves: Move[] = stops(view, nodes);",
    "const moves: Move[] = [];",
  ),
  mutant(
    "who-drains-keeps-what-it-has",
    "src/cluster/driven-facts.ts",
    'isLeaving: nodes[id]!.state !== "member",',
    'isLeaving: nodes[id]!.state === "removed",',
  ),
  mutant(
    "who-was-removed-is-never-up",
    "src/node.ts",
    "this.#gossip.membersChanged(membership.connected.map(({ id }) => id));",
    "this.#gossip.membersChanged(membership.nodes.map(({ id }) => id));",
  ),
];
