/**
 * `bun run soak`: a store under random work for a long time, everything compared with a model. Prints the seed, and how
 * far it is; ends with an error at the first wrong answer.
 *
 *     bun run soak [--ops 10000000] [--keys 200000] [--seed N] [--dir DIR]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SOAK_ENGINE, Soak } from "./support/soak.ts";

const { values } = parseArgs({
  options: {
    ops: { type: "string", default: "10000000" },
    keys: { type: "string", default: "200000" },
    seed: { type: "string", default: String(crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1) },
    dir: { type: "string" },
  },
});
const operations = Number(values.ops);
const directory = values.dir ?? mkdtempSync(join(tmpdir(), "flotilla-soak-"));
const soak = new Soak({
  ...{ directory: join(directory, "store"), seed: Number(values.seed), keys: Number(values.keys) },
  ...{ engine: SOAK_ENGINE, reopenEvery: Math.ceil(operations / 7) },
});
console.log(`soak: ${operations} operations, ${values.keys} keys, seed ${values.seed}, in ${directory}`);

const beganAtMs = performance.now();
const report = (): void => {
  const seconds = (performance.now() - beganAtMs) / 1000;
  const rate = Math.round(soak.operations / seconds);
  const megabytes = Math.round(process.memoryUsage().rss / 1e6);
  console.log(`${soak.operations} operations, ${rate}/s, ${soak.liveKeys} keys, ${megabytes} MB of memory`);
};
await soak.open();
for (let reportAt = 0; soak.operations < operations && soak.fatal === undefined; ) {
  await soak.round();
  if (soak.operations < reportAt) continue;
  report();
  reportAt += operations / 20;
}
if (soak.fatal !== undefined) throw soak.fatal;
soak.checkAll();
await soak.close();
await soak.open();
soak.checkAll();
await soak.close();
report();
console.log(`all answers were right; ${soak.flushes} flushes, ${soak.compactions} compactions`);
if (values.dir === undefined) rmSync(directory, { recursive: true });
