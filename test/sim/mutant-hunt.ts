import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Mutant, plant } from "./mutants/mutant.ts";

const ROOT = join(import.meta.dir, "../..");

/** What came of a hunt for a planted bug. */
export interface Hunt {
  readonly caught: boolean;
  /** How many were tried. */
  readonly seeds: number;
  /** The one that found it. */
  readonly seed: number | undefined;
  /** What the simulator said, in its first words. */
  readonly problem: string | undefined;
}

/** A copy of the tree, in which one bug after the other is planted. */
export class MutantTree {
  readonly #directory = mkdtempSync(join(tmpdir(), "flotilla-mutant-"));

  constructor() {
    for (const part of ["src", "protocol", "test", "package.json", "tsconfig.json"]) {
      cpSync(join(ROOT, part), join(this.#directory, part), { recursive: true });
    }
    symlinkSync(join(ROOT, "node_modules"), join(this.#directory, "node_modules"));
  }

  /** The text of each mutant's file with the bug in it. Throws where one does not apply. */
  textsOf(mutants: readonly Mutant[]): readonly string[] {
    return mutants.map((mutant) => plant(mutant, readFileSync(join(this.#directory, mutant.file), "utf8")));
  }

  /** Runs the simulator, told `flags`, with `text` in the place of a file. Throws when it can't be run. */
  async hunt(file: string, text: string, flags: readonly string[]): Promise<Hunt> {
    const path = join(this.#directory, file);
    const sound = readFileSync(path);
    writeFileSync(path, text);
    try {
      const child = Bun.spawn([process.execPath, "test/sim/sim.ts", ...flags], {
        cwd: this.#directory,
        stdio: ["ignore", "pipe", "inherit"],
      });
      const output = await new Response(child.stdout).text();
      return huntOf(output, await child.exited);
    } finally {
      writeFileSync(path, sound);
    }
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** What the simulator's output says, of one run or of many. Throws where it says nothing. */
export function huntOf(output: string, exitCode: number): Hunt {
  const lines = output.trim().split("\n");
  const problem = /failed: (.{0,100})/.exec(output)?.[1];
  const summary = lines.at(-1)!;
  if (!summary.startsWith("{")) throw new Error(`the simulator ended with ${exitCode} and without a result`);
  const { seed, ok, runs, failed, seeds_failed: failing } = JSON.parse(summary);
  if (ok !== undefined) return { caught: !ok, seeds: 1, seed: ok ? undefined : seed, problem };
  return { caught: failed > 0, seeds: runs, seed: failing[0], problem };
}
