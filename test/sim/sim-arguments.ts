/** The command line of `bun run sim`. */
import { Command, InvalidArgumentError, Option } from "commander";
import { COURSES } from "./courses.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { DEFAULT_OPTIONS, NODES_MAX, parseFaults, type SimulationOptions } from "./options.ts";

export interface SimArguments {
  readonly options: SimulationOptions;
  readonly runs: number;
  readonly workers: number;
  readonly trace: boolean;
  readonly shrink: boolean;
  /** No more runs are begun once one has failed. */
  readonly bail: boolean;
}

/** What a process exits with that was told something that it does not understand; a run that failed is 1. */
export const EXIT_USAGE = 2;

/** Throws commander's errors, once it has said what is wrong; prints help where that is asked for. */
export function parseSimArguments(argv: readonly string[]): SimArguments {
  const command = new Command("sim")
    .description("Runs a whole cluster in a simulated world, under faults that a seed decides.")
    .option("--seed <n>", "the seed of the run, or of the first of many", atLeast(0))
    .option("--runs <n>", "how many runs, of the seeds that follow", atLeast(1), 1)
    .option(
      "--nodes <n>",
      `nodes that found the cluster, up to ${NODES_MAX}; 0: drawn`,
      atLeast(0, NODES_MAX),
    )
    .option("--faults <list>", `kinds, with commas: ${FAULT_KINDS.join(", ")}; or all, or none`, kinds)
    .addOption(new Option("--course <name>", "what the run is about; not said: drawn").choices(COURSES))
    .option("--minutes <m>", "for how many simulated minutes faults are made; 0: drawn", fraction)
    .option("--clients <n>", "how many clients; 0: drawn", atLeast(0))
    .option("--operations <n>", "how many operations the clients begin at most", atLeast(0))
    .option("--only <list>", "numbers of the faults of the plan that are made, with commas", numbers)
    .option("--workers <n>", "processes for many runs", atLeast(1), navigator.hardwareConcurrency)
    .option("--trace", "print what happens", false)
    .option("--shrink", "look for less that fails as well, once the run has failed", false)
    .option("--bail", "begin no more runs once one has failed", false);
  command.exitOverride();
  command.parse(argv, { from: "user" });
  const given = command.opts();
  const options: SimulationOptions = {
    seed: given.seed ?? Math.floor(Math.random() * 2 ** 31),
    nodes: given.nodes ?? DEFAULT_OPTIONS.nodes,
    faults: given.faults,
    course: given.course,
    minutes: given.minutes ?? DEFAULT_OPTIONS.minutes,
    clients: given.clients ?? DEFAULT_OPTIONS.clients,
    operationsMax: given.operations ?? DEFAULT_OPTIONS.operationsMax,
    only: given.only,
  };
  const { runs, workers, trace, shrink, bail } = given;
  if (runs > 1 && (trace || shrink)) {
    const flag = trace ? "--trace" : "--shrink";
    command.error(`error: ${flag} is of one run: --runs ${runs} prints the command for each that fails`);
  }
  return { options, runs, workers, trace, shrink, bail };
}

/** Of a flag: whole numbers within bounds, both included. */
export function atLeast(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  const bounds = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return (text) => {
    // Number("") is 0.
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(number >= least && number <= most))
      throw new InvalidArgumentError(`a whole number ${bounds} was expected`);
    return number;
  };
}

function fraction(text: string): number {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  if (!(number >= 0 && number <= 60)) throw new InvalidArgumentError("a number from 0 to 60 was expected");
  return number;
}

function kinds(text: string): SimulationOptions["faults"] {
  try {
    return parseFaults(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function numbers(text: string): readonly number[] {
  if (text === "none") return [];
  return text.split(",").map(atLeast(0));
}
