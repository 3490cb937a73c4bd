import type { SimulationOptions } from "./options.ts";
import { type RunResult, simulate } from "./simulation.ts";

/** Runs that the search may take. */
const RUNS_MAX = 150;

/**
 * Looks for less that fails as well: fewer faults, a shorter time, fewer clients, operations and nodes. What fails need not
 * fail in the same words. Returns the smallest options that were found to fail.
 */
export async function shrink(
  options: SimulationOptions,
  failure: RunResult,
  tell: (line: string) => void,
): Promise<SimulationOptions> {
  let best = options;
  let runs = 0;
  const fails = async (candidate: SimulationOptions, what: string): Promise<boolean> => {
    if (runs++ >= RUNS_MAX) return false;
    const result = await simulate(candidate);
    if (result.ok) return false;
    best = candidate;
    tell(`fails with ${what}, too: ${result.problem?.split("\n")[0]}`);
    return true;
  };

  let kept = options.only ?? Array.from({ length: failure.planned }, (_, number) => number);
  for (let size = kept.length; size >= 1; size = Math.floor(size / 2)) {
    for (let start = 0; start < kept.length; ) {
      const fewer = [...kept.slice(0, start), ...kept.slice(start + size)];
      if (await fails({ ...best, only: fewer }, `${fewer.length} faults`)) kept = fewer;
      else start += size;
    }
  }
  const { profile } = failure;
  if (profile === undefined) return best;
  if (profile.kinds.includes("members")) {
    const others = profile.kinds.filter((kind) => kind !== "members");
    await fails({ ...best, faults: others }, "the same members");
  }
  for (let nodes = 1; nodes < profile.nodes; nodes += 2) {
    if (await fails({ ...best, nodes }, `${nodes} nodes`)) break;
  }
  for (let clients = 1; clients < profile.clients; clients *= 2) {
    if (await fails({ ...best, clients }, `${clients} clients`)) break;
  }
  for (let operations = 1; operations < failure.operations; operations *= 2) {
    if (await fails({ ...best, operationsMax: operations }, `${operations} operations`)) break;
  }
  return best;
}
