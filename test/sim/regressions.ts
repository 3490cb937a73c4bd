/**
 * Runs in which the simulator finds a bug of the code that ships, once it is put back: each names the planted bug that does so.
 * Seeds mean other runs as the code changes, planted bugs stay what they are: `bun run sim:mutants --regressions` says of which
 * bugs there has to be a new seed.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Regression {
  /** The run, as arguments of `bun run sim`. */
  readonly flags: readonly string[];
  /** The name of the planted bug with which it fails. */
  readonly mutant: string;
}

/** Reads `regressions.txt`. Throws what is wrong with a line of it. */
export function readRegressions(): readonly Regression[] {
  return parseRegressions(readFileSync(join(import.meta.dir, "regressions.txt"), "utf8"));
}

/** Of each line `<flags>  # <mutant>: <what it was>`; one that begins with `#` is a comment. */
export function parseRegressions(text: string): readonly Regression[] {
  const regressions: Regression[] = [];
  for (const [at, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const [, flags, mutant] = /^(--seed \d+.*?) {2}# ([a-z\d-]+): ./.exec(line) ?? [];
    if (flags === undefined || mutant === undefined)
      throw new Error(
        `line ${at + 1} of the regressions is not "--seed S ..  # mutant: what it was": ${line}`,
      );
    regressions.push({ flags: flags.split(" "), mutant });
  }
  return regressions;
}
