import type { SimulationOptions } from "./options.ts";
import type { RunResult } from "./simulation.ts";

/** Runs that the search may take. */
const RUNS_MAX = 150;
/** In how many steps a time is made shorter at most. */
const SHORTER_TIMES = 6;

export interface Shrinking {
  /** What failed, and what came of it. */
  readonly options: SimulationOptions;
  readonly failure: RunResult;
  /** Runs a candidate. One that does not end in good time has to be given up, and to count as another kind of failure. */
  readonly attempt: (candidate: SimulationOptions) => Promise<RunResult>;
  /** Hears of each that fails as well. */
  readonly tell: (line: string) => void;
}

/**
 * Looks for less that fails as well: a shorter time, fewer faults, nodes, clients and operations. Only what is wrong in the
 * same way counts, though it may be so of another node, shard or entry. Returns the smallest options that were found to fail.
 */
export async function shrink({ options, failure, attempt, tell }: Shrinking): Promise<SimulationOptions> {
  const kind = kindOfProblem(failure.problem);
  let best = options;
  let smallest = failure;
  let runs = 0;
  const fails = async (candidate: SimulationOptions, what: string): Promise<boolean> => {
    if (runs++ >= RUNS_MAX) return false;
    const result = await attempt(candidate);
    if (result.ok || kindOfProblem(result.problem) !== kind) return false;
    best = candidate;
    smallest = result;
    tell(`fails with ${what}, too: ${result.problem?.split("\n")[0]}`);
    return true;
  };

  const { profile } = failure;
  if (profile !== undefined) {
    // The shorter plan is the beginning of the longer one, so this comes before single faults are left out.
    let tooShortMs = 0;
    let longMs = profile.faultsMs;
    for (let step = 0; step < SHORTER_TIMES; step++) {
      const faultsMs = (tooShortMs + longMs) / 2;
      const minutes = Math.ceil(faultsMs / 60) / 1000;
      if (await fails({ ...best, minutes }, `${Math.round(faultsMs)} ms of faults`)) longMs = faultsMs;
      else tooShortMs = faultsMs;
    }
  }
  let kept = options.only ?? everyNumber(smallest.planned);
  for (let size = kept.length; size >= 1; size = Math.floor(size / 2)) {
    for (let start = 0; start < kept.length; ) {
      const fewer = [...kept.slice(0, start), ...kept.slice(start + size)];
      if (await fails({ ...best, only: fewer }, `${fewer.length} faults`)) kept = fewer;
      else start += size;
    }
  }
  if (profile === undefined) return best;
  // What the run is about follows from kinds and nodes, unless it is said.
  const { course } = profile;
  if (profile.kinds.includes("members")) {
    const faults = profile.kinds.filter((other) => other !== "members");
    await fails({ ...best, course, faults }, "the same members");
  }
  for (let nodes = 1; nodes < profile.nodes; nodes += 2) {
    if (await fails({ ...best, course, nodes }, `${nodes} nodes`)) break;
  }
  for (let clients = 1; clients < profile.clients; clients *= 2) {
    if (await fails({ ...best, clients }, `${clients} clients`)) break;
  }
  const { operations: most } = smallest;
  for (let operations = 1; operations < most; operations *= 2) {
    if (await fails({ ...best, operationsMax: operations }, `${operations} operations`)) break;
  }
  return best;
}

/** What a problem says in its first line, but for who and what it says it of: names, values and numbers. */
export function kindOfProblem(problem = ""): string {
  const words = problem
    .split("\n", 1)[0]!
    .replace(/"[^"]*"/g, "")
    .replace(/the system group/g, "shard 0")
    .replace(/[^\s,:;()]*\d[^\s,:;()]*|\bundefined\b/g, "#");
  return words.replace(/\s+/g, " ").trim();
}

function everyNumber(count: number): readonly number[] {
  return Array.from({ length: count }, (_, number) => number);
}
