/**
 * `bun run sim:mutants`: plants known bugs, one at a time, in a copy of the tree, and sees how soon the simulator finds
 * each. A line of JSON a mutant, `{"mutant","caught","seeds"}`; `seeds`: how many were tried; with it the seed that found the
 * bug, and what was said then. A checker that has caught nothing has shown nothing.
 *
 * `--seeds N`: how many to try at most, 2000 if it is not said; `--mutants a,b`: only these; `--first S`: the first seed.
 * `--regressions`: only the bugs that there were, each in the one run that `regressions.txt` has for it.
 *
 * The exit code is 1 if one was not caught.
 */
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { MutantTree } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants/all.ts";
import type { Mutant } from "./mutants/mutant.ts";
import { readRegressions } from "./regressions.ts";
import { atLeast, EXIT_USAGE } from "./sim-arguments.ts";

/** A run, or many, of the tree with a bug. */
interface Task {
  readonly mutant: Mutant;
  readonly flags: readonly string[];
}

function parseTasks(): readonly Task[] {
  const command = new Command("sim:mutants")
    .description("Plants known bugs in a copy of the tree, and sees how soon the simulator finds each.")
    .option("--seeds <n>", "how many seeds to try for each", atLeast(1), 2000)
    .option("--first <seed>", "the first seed", atLeast(0), 1)
    .option("--mutants <list>", "names, with commas", mutantsOf)
    .option("--regressions", "each bug of regressions.txt in the run that it has there", false);
  command.exitOverride().parse();
  const { seeds, first, mutants, regressions } = command.opts();
  const chosen: readonly Mutant[] = mutants ?? MUTANTS;
  const many = ["--seed", `${first}`, "--runs", `${seeds}`, "--bail"];
  if (!regressions) return chosen.map((mutant) => ({ mutant, flags: many }));
  return readRegressions().flatMap(({ mutant: name, flags }) =>
    chosen.filter((mutant) => mutant.name === name).map((mutant) => ({ mutant, flags })),
  );
}

function mutantsOf(list: string): readonly Mutant[] {
  const names = list.split(",");
  for (const name of names) {
    if (!MUTANTS.some((mutant) => mutant.name === name))
      throw new InvalidArgumentError(`there is no mutant "${name}"`);
  }
  return MUTANTS.filter(({ name }) => names.includes(name));
}

/** True: all were caught. */
async function main(): Promise<boolean> {
  const tasks = parseTasks();
  const tree = new MutantTree();
  let missed = 0;
  try {
    // All are planted before the first is tried, so that one that does not apply is noticed at once.
    const texts = tree.textsOf(tasks.map(({ mutant }) => mutant));
    for (const [number, { mutant, flags }] of tasks.entries()) {
      const { caught, seeds, seed, problem } = await tree.hunt(mutant.file, texts[number]!, flags);
      if (!caught) missed++;
      console.log(JSON.stringify({ mutant: mutant.name, caught, seeds, seed, problem }));
    }
  } finally {
    tree.remove();
  }
  return missed === 0;
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
}
