/**
 * `bun run sim`: one run of the simulator, or many on all cores. The last line is JSON: of one run
 * `{"seed","ok","trace","events","simulated_s","faults"}`, of many `{"runs","failed","seeds_failed","simulated_h"}`.
 * A run that fails prints what was wrong, and the one command that shows it event by event.
 */
import { CommanderError } from "commander";
import { runApart, runMany } from "./many-runs.ts";
import { flagsOf, type SimulationOptions } from "./options.ts";
import { shrink } from "./shrink.ts";
import { EXIT_USAGE, parseSimArguments, type SimArguments } from "./sim-arguments.ts";
import { type RunResult, simulate } from "./simulation.ts";

/** Less of a run does not take longer than this times the whole; what does not end takes for ever. */
const SHRUNK_TIMES_MAX = 5;
/** But it is in a process of its own, which has to begin. */
const SHRUNK_MS_LEAST = 30_000;

async function main(): Promise<boolean> {
  const given = parseSimArguments(process.argv.slice(2));
  return given.runs === 1 ? runOne(given) : runAll(given);
}

async function runOne({ options, trace, shrink: shrinks }: SimArguments): Promise<boolean> {
  const startedMs = performance.now();
  const result = await simulate(options, trace ? (line) => console.log(line) : undefined);
  const limitMs = SHRUNK_MS_LEAST + SHRUNK_TIMES_MAX * (performance.now() - startedMs);
  if (!result.ok) {
    report(options, result);
    if (shrinks) {
      const smallest = await shrink({
        options,
        failure: result,
        attempt: (candidate) => runApart(candidate, limitMs),
        tell: (line) => console.log(line),
      });
      console.log(`the smallest that fails: bun run sim ${flagsOf(smallest)} --trace`);
    }
  }
  const { seed, ok, trace: hash, events, simulatedS, faults } = result;
  console.log(JSON.stringify({ seed, ok, trace: hash, events, simulated_s: simulatedS, faults }));
  return ok;
}

async function runAll({ options, runs, workers, bail }: SimArguments): Promise<boolean> {
  const failed: number[] = [];
  let done = 0;
  let simulatedS = 0;
  await runMany({
    options,
    runs,
    workers,
    done: (result) => {
      done++;
      simulatedS += result.simulatedS;
      if (!result.ok) {
        failed.push(result.seed);
        report({ ...options, seed: result.seed }, result);
      }
      return !(bail && failed.length > 0);
    },
  });
  const summary = {
    runs: done,
    failed: failed.length,
    seeds_failed: failed.sort((a, b) => a - b),
    simulated_h: Math.round(simulatedS / 3.6) / 1000,
  };
  console.log(JSON.stringify(summary));
  return failed.length === 0;
}

function report(options: SimulationOptions, { problem, lastEvents }: RunResult): void {
  console.log(`seed ${options.seed} failed: ${problem}`);
  for (const line of lastEvents) console.log(`  ${line}`);
  console.log(`at ${codeNow()}; to see it: bun run sim ${flagsOf(options)} --trace`);
}

/** Which code ran, for people: the commit, and whether the tree is another one by now. */
function codeNow(): string {
  const git = (...words: string[]): string =>
    Bun.spawnSync(["git", ...words], { cwd: import.meta.dir })
      .stdout.toString()
      .trim();
  const commit = git("rev-parse", "--short", "HEAD");
  if (commit === "") return "no known commit";
  const changed = git("status", "--porcelain").split("\n").filter(Boolean).length;
  return `commit ${commit}${changed === 0 ? "" : `, with ${changed} paths that differ from it`}`;
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
}
