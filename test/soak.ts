/**
 * `bun run soak`: a store under random work for a long time, everything compared with a model. Prints the seed, and how
 * far it is; ends with an error at the first wrong answer.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { SOAK_ENGINE, Soak } from "./support/soak.ts";

const KEYS_MAX = 99_999_999;

const whole =
  (max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new InvalidArgumentError(`It must be a whole number from 1 to ${max}.`);
    return value;
  };

const program = new Command("soak")
  .description("Random work on a store, everything compared with a model; ends at the first wrong answer.")
  .allowExcessArguments(false)
  .option("--ops <n>", "writes and reads", whole(Number.MAX_SAFE_INTEGER), 10_000_000)
  .option("--keys <n>", "different keys", whole(KEYS_MAX), 200_000)
  .option("--seed <n>", "of all randomness (default: another one each time)", whole(0x7fff_ffff))
  .option("--dir <path>", "where the store is made, and stays (default: a temporary directory)")
  .parse();
const { ops, keys, seed, dir } = program.opts<{ ops: number; keys: number; seed?: number; dir?: string }>();
const chosen = seed ?? 1 + (crypto.getRandomValues(new Uint32Array(1))[0]! % 0x7fff_ffff);
const directory = dir ?? mkdtempSync(join(tmpdir(), "flotilla-soak-"));
const soak = new Soak({
  ...{ directory: join(directory, "store"), seed: chosen, keys },
  ...{ engine: SOAK_ENGINE, reopenEvery: Math.ceil(ops / 7) },
});
console.log(`soak: ${ops} operations, ${keys} keys, seed ${chosen}, in ${directory}`);

const beganAtMs = performance.now();
const report = (): void => {
  const seconds = (performance.now() - beganAtMs) / 1000;
  const rate = Math.round(soak.operations / seconds);
  const megabytes = Math.round(process.memoryUsage().rss / 1e6);
  console.log(`${soak.operations} operations, ${rate}/s, ${soak.liveKeys} keys, ${megabytes} MB of memory`);
};
await soak.open();
for (let reportAt = 0; soak.operations < ops && soak.fatal === undefined; ) {
  await soak.round();
  if (soak.operations < reportAt) continue;
  report();
  reportAt += ops / 20;
}
if (soak.fatal !== undefined) throw soak.fatal;
soak.checkAll();
await soak.close();
await soak.open();
soak.checkAll();
await soak.close();
report();
console.log(`all answers were right; ${soak.flushes} flushes, ${soak.compactions} compactions`);
if (dir === undefined) rmSync(directory, { recursive: true });
