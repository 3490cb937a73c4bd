/**
 * `bun run sim:mutants`: plants known bugs, one at a time, in a copy of the tree, and sees how soon the simulator finds
 * each. A line of JSON a mutant, `{"mutant","caught","seeds"}`; `seeds`: how many were tried; with it the seed that found the bug, and
 * what was said then. A checker that has caught
 * nothing has shown nothing.
 *
 * `--seeds N`: how many to try at most, 2000 if it is not said; `--mutants a,b`: only these; `--first S`: the first seed.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { MUTANTS } from "./mutants/all.ts";
import { type Mutant, plant } from "./mutants/mutant.ts";

const ROOT = join(import.meta.dir, "../..");

const given = new Command("sim:mutants")
  .option("--seeds <n>", "how many seeds to try for each", "2000")
  .option("--first <seed>", "the first seed", "1")
  .option("--mutants <list>", "names, with commas")
  .parse()
  .opts();
const names: readonly string[] = given.mutants?.split(",") ?? MUTANTS.map(({ name }) => name);
for (const name of names) {
  if (!MUTANTS.some((mutant) => mutant.name === name)) throw new Error(`there is no mutant ${name}`);
}
const chosen = MUTANTS.filter(({ name }) => names.includes(name));
// All are planted before the first is tried, so that one that does not apply is noticed at once.
const texts = chosen.map((mutant) => plant(mutant, readFileSync(join(ROOT, mutant.file), "utf8")));
const copy = mkdtempSync(join(tmpdir(), "flotilla-mutant-"));
let missed = 0;
try {
  for (const part of ["src", "protocol", "test", "package.json", "tsconfig.json"]) {
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  for (const [number, mutant] of chosen.entries()) {
    const { caught, seeds, seed, problem } = await hunt(mutant, texts[number]!);
    if (!caught) missed++;
    console.log(JSON.stringify({ mutant: mutant.name, caught, seeds, seed, problem }));
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
process.exitCode = missed === 0 ? 0 : 1;

interface Hunt {
  readonly caught: boolean;
  readonly seeds: number;
  readonly seed: number | undefined;
  /** What the simulator said, in its first words. */
  readonly problem: string | undefined;
}

async function hunt({ file }: Mutant, text: string): Promise<Hunt> {
  const sound = readFileSync(join(copy, file));
  writeFileSync(join(copy, file), text);
  try {
    const flags = ["--seed", given.first, "--runs", given.seeds, "--bail"];
    const child = Bun.spawn([process.execPath, "test/sim/sim.ts", ...flags], {
      cwd: copy,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = (await new Response(child.stdout).text()).trim().split("\n");
    const { runs, failed, seeds_failed: seeds } = JSON.parse(lines.at(-1)!);
    const problem = /failed: (.{0,100})/.exec(lines.join("\n"))?.[1];
    return { caught: failed > 0, seeds: runs, seed: seeds[0], problem };
  } finally {
    writeFileSync(join(copy, file), sound);
  }
}
