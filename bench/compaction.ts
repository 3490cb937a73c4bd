/**
 * `bun run bench:compaction`: what the compaction policy costs, simulated without a disk (`engine/sim-store.ts`): write,
 * space and read amplification of several workloads, a million flushes in all by default.
 */
import { Command, InvalidArgumentError } from "commander";
import { seededRandom } from "../src/lib/prng.ts";
import { SIM_DEFAULTS, type SimResult, simulate, WORKLOADS, type Workload } from "./engine/sim-workloads.ts";

const count = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("it has to be a number above zero");
  return value;
};

const program = new Command("bench:compaction")
  .description("Simulates compactions and tells what they cost.")
  .option("--flushes <n>", "memtables flushed, for each workload", count, 170_000)
  .option("--workloads <names>", `some of ${WORKLOADS.join(",")}`, WORKLOADS.join(","))
  .option("--keys <n>", "different keys; a memtable holds 64", count, SIM_DEFAULTS.keys)
  .option("--workers <n>", "merges at a time", count, 1)
  .option("--speed <n>", "memtables that a worker writes while one fills (default: any number)", count)
  .option("--seed <n>", "of the keys", count, 1)
  .option("--json", "a line of JSON for each workload")
  .parse();
const options = program.opts<{
  flushes: number;
  workloads: string;
  keys: number;
  workers: number;
  speed?: number;
  seed: number;
  json?: boolean;
}>();

const { keys, workers } = options;
const workerBytes =
  options.speed === undefined ? SIM_DEFAULTS.workerBytes : options.speed * 64 * SIM_DEFAULTS.putBytes;
for (const name of options.workloads.split(",")) {
  if (!WORKLOADS.includes(name as Workload)) program.error(`there is no workload ${name}`);
}
for (const name of options.workloads.split(",")) {
  const start = performance.now();
  const sim = { ...SIM_DEFAULTS, keys, workers, workerBytes };
  const result = simulate(name as Workload, sim, options.flushes, seededRandom(options.seed));
  const seconds = (performance.now() - start) / 1000;
  console.log(options.json ? JSON.stringify({ ...result, seconds }) : textOf(result, seconds));
}

function textOf(result: SimResult, seconds: number): string {
  const { counts } = result;
  return [
    `${result.workload.padEnd(10)} write ${result.writeAmplification.toFixed(2)}`,
    `space ${result.spaceAmplification.toFixed(2)} (at most ${result.spaceAmplificationMax.toFixed(2)})`,
    `read ${result.readAmplification.toFixed(2)}`,
    `${counts.merges} merges, ${counts.moved} moved, ${counts.dropped} dropped, ${counts.stalls} stalls`,
    `level 0 at most ${counts.level0Max}`,
    `tables ${result.tables.join("/")}`,
    `garbage at rest ${(result.garbageShare * 100).toFixed(1)} %, after compact ${result.garbageLeft}`,
    `${seconds.toFixed(1)} s`,
  ].join("; ");
}
