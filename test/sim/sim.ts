/**
 * `bun run sim`: one run of the simulator, or many on all cores. The last line is JSON: of one run
 * `{"seed","ok","trace","events","simulated_s","faults"}`, of many `{"runs","failed","seeds_failed","simulated_h"}`.
 * A run that fails prints what was wrong, and the one command that shows it event by event.
 */
import { CommanderError } from "commander";
import { runMany } from "./many-runs.ts";
import { flagsOf, type SimulationOptions } from "./options.ts";
import { shrink } from "./shrink.ts";
import { parseSimArguments, type SimArguments } from "./sim-arguments.ts";
import { type RunResult, simulate } from "./simulation.ts";

async function main(): Promise<boolean> {
  const given = parseSimArguments(process.argv.slice(2));
  return given.runs === 1 ? runOne(given) : runAll(given);
}

async function runOne({ options, trace, shrink: shrinks }: SimArguments): Promise<boolean> {
  const result = await simulate(options, trace ? (line) => console.log(line) : undefined);
  if (!result.ok) {
    report(options, result);
    if (shrinks) {
      const smallest = await shrink(options, result, (line) => console.log(line));
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
  const commit = Bun.spawnSync(["git", "rev-parse", "--short", "HEAD"]).stdout.toString().trim();
  console.log(`at commit ${commit || "unknown"}; to see it: bun run sim ${flagsOf(options)} --trace`);
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode;
}
