/** What a run of the simulator is told. Everything else follows from these, to the byte. */
import type { Course } from "./courses.ts";
import { FAULT_KINDS, type FaultKind } from "./fault-kinds.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** Nodes that found the cluster; 0: the seed decides. One more joins in most runs that change members. */
  readonly nodes: number;
  /** The kinds of faults that may happen; `undefined`: the seed decides. */
  readonly faults: readonly FaultKind[] | undefined;
  /** What the run is about; `undefined`: the seed decides. */
  readonly course: Course | undefined;
  /** How long faults are made, in simulated minutes; 0: the seed decides, on some seconds. */
  readonly minutes: number;
  /** 0: the seed decides. */
  readonly clients: number;
  /** How many operations the clients begin at most. */
  readonly operationsMax: number;
  /** The numbers of the faults of the plan that happen; `undefined`: all of them. */
  readonly only: readonly number[] | undefined;
}

export const NODES_MAX = 7;

/** Every run of the simulator is this one unless it is told otherwise. */
export const DEFAULT_OPTIONS: SimulationOptions = {
  seed: 1,
  nodes: 0,
  faults: undefined,
  course: undefined,
  minutes: 0,
  clients: 0,
  operationsMax: Number.POSITIVE_INFINITY,
  only: undefined,
};

/** The flags that say `options`, where they are not what a run does anyway. */
export function flagsOf(options: SimulationOptions): string {
  const flags = [`--seed ${options.seed}`];
  if (options.nodes !== DEFAULT_OPTIONS.nodes) flags.push(`--nodes ${options.nodes}`);
  if (options.faults !== undefined) flags.push(`--faults ${options.faults.join() || "none"}`);
  if (options.course !== undefined) flags.push(`--course ${options.course}`);
  if (options.minutes !== DEFAULT_OPTIONS.minutes) flags.push(`--minutes ${options.minutes}`);
  if (options.clients !== DEFAULT_OPTIONS.clients) flags.push(`--clients ${options.clients}`);
  if (Number.isFinite(options.operationsMax)) flags.push(`--operations ${options.operationsMax}`);
  if (options.only !== undefined) flags.push(`--only ${options.only.join() || "none"}`);
  return flags.join(" ");
}

/** A list of fault kinds as it is written on the command line. Throws what is wrong with it, as a sentence. */
export function parseFaults(text: string): readonly FaultKind[] {
  if (text === "none") return [];
  if (text === "all") return FAULT_KINDS;
  return text.split(",").map((word) => {
    const kind = FAULT_KINDS.find((known) => known === word);
    if (kind === undefined)
      throw new Error(`there is no fault "${word}": there are ${FAULT_KINDS.join(", ")}, all and none`);
    return kind;
  });
}
