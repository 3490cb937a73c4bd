/**
 * Which nodes vote in the system group. Every node has a copy of the cluster's facts; an odd number of them, at most five,
 * decide about them. More would make every decision slower without making it much safer.
 *
 * Votes stay where they are. They move, one change at a time, when a voter is leaving or lost, when there are nodes enough for
 * two voters more, or when an exchange puts them on more hosts or zones. Nobody who is not up gets a vote, and a vote of a
 * lost node is only taken away if another node gets it: with fewer voters the next loss would weigh more.
 */
import type { NodeId } from "../../protocol/ids.ts";
import { byId, type ConditionedNode, isWanted } from "./conditions.ts";
import { FailureDomains } from "./failure-domains.ts";

export const SYSTEM_VOTERS_MAX = 5;

/**
 * Who should vote next, sorted, where `current` vote now: the same if nothing has to change, or if what should change can't
 * without losing the majority. Without any `current`, who should vote at first. Who is not among the `nodes` has left.
 */
export function systemVoters(
  current: readonly NodeId[],
  nodes: readonly ConditionedNode[],
): readonly NodeId[] {
  const sorted = byId(nodes);
  const domains = new FailureDomains(sorted);
  const voters = sorted.flatMap(({ id }, at) => (current.includes(id) ? [at] : []));
  const wanted = sorted.filter((node, at) => isWanted(node) || (voters.includes(at) && !node.isLeaving));
  const size = Math.min(SYSTEM_VOTERS_MAX, wanted.length - 1 + (wanted.length % 2));
  if (size < 1) return current;
  const next = current.length === 0 ? first(sorted, domains, size) : step(voters, sorted, domains, size);
  const alive = next.filter((at) => sorted[at]!.health === "up").length;
  if (current.length > 0 && 2 * alive <= next.length) return current;
  return next.sort((a, b) => a - b).map((at) => sorted[at]!.id);
}

function first(nodes: readonly ConditionedNode[], domains: FailureDomains, size: number): number[] {
  const next: number[] = [];
  const founders = nodes.flatMap((node, at) => (isWanted(node) ? [at] : []));
  while (next.length < size) next.push(cheapest(founders, next, domains));
  return next;
}

/** One change towards what should be. */
function step(
  voters: readonly number[],
  nodes: readonly ConditionedNode[],
  domains: FailureDomains,
  size: number,
): number[] {
  const next = [...voters];
  const spares = nodes.flatMap((node, at) =>
    isWanted(node) && node.health === "up" && !voters.includes(at) ? [at] : [],
  );
  const addOne = (): void => {
    const spare = cheapest(spares, next, domains);
    spares.splice(spares.indexOf(spare), 1);
    next.push(spare);
  };
  const isLeaver = (at: number) => nodes[at]!.isLeaving;
  const goes = voters.find(isLeaver) ?? voters.find((at) => !isWanted(nodes[at]!));
  if (goes !== undefined && spares.length > 0 && voters.length <= size) {
    next.splice(next.indexOf(goes), 1);
    addOne();
  } else if (voters.length < size) {
    // An even number comes from a change that was cut short: one more makes it odd.
    const missing = voters.length % 2 === 0 ? 1 : 2;
    if (spares.length >= missing) for (let i = 0; i < missing; i++) addOne();
    else if (missing === 1) next.splice(next.indexOf(leastUseful(next, nodes, domains)), 1);
  } else if (voters.length > size) {
    while (next.length > size) next.splice(next.indexOf(leastUseful(next, nodes, domains)), 1);
  } else {
    exchange(next, spares, domains);
  }
  return next;
}

/** Of `candidates` the one that makes the best set with `set`, the first of equals. */
function cheapest(candidates: readonly number[], set: readonly number[], domains: FailureDomains): number {
  let best = -1;
  for (const at of candidates) {
    if (set.includes(at)) continue;
    if (best < 0 || domains.costWith(set, at) < domains.costWith(set, best)) best = at;
  }
  return best;
}

/** Who is leaving before who is lost before who is down; of equals, who shares most with the others; then the last one. */
function leastUseful(
  voters: readonly number[],
  nodes: readonly ConditionedNode[],
  domains: FailureDomains,
): number {
  const uselessness = (at: number): number => {
    const { isLeaving, health } = nodes[at]!;
    const rank = (isLeaving ? 3 : 0) + (health === "lost" ? 2 : health === "down" ? 1 : 0);
    return rank * 1e9 + domains.costWith(voters, at, voters.indexOf(at));
  };
  return voters.reduce((worst, at) => (uselessness(at) >= uselessness(worst) ? at : worst));
}

/** The one exchange that spreads the voters best, if any makes them better. */
function exchange(voters: number[], spares: readonly number[], domains: FailureDomains): void {
  let bestGain = 0;
  let bestPlace = -1;
  let bestSpare = -1;
  for (let place = 0; place < voters.length; place++) {
    const cost = domains.costWith(voters, voters[place]!, place);
    for (const spare of spares) {
      const gain = cost - domains.costWith(voters, spare, place);
      if (gain <= bestGain) continue;
      bestGain = gain;
      bestPlace = place;
      bestSpare = spare;
    }
  }
  if (bestPlace >= 0) voters[bestPlace] = bestSpare;
}
