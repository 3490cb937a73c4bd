import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MUTANTS } from "./mutants/all.ts";
import { FOUND_MUTANTS } from "./mutants/found.ts";
import { parseRegressions, readRegressions } from "./regressions.ts";
import { parseSimArguments } from "./sim-arguments.ts";

const ROOT = join(import.meta.dir, "../..");

test("each run of a bug that there was names the planted bug that puts it back", () => {
  const regressions = readRegressions();
  expect(regressions.length).toBeGreaterThan(0);
  const names = MUTANTS.map(({ name }) => name);
  for (const { flags, mutant } of regressions) {
    expect(names).toContain(mutant);
    expect(parseSimArguments(flags).runs).toBe(1);
  }
});

test("each bug that there was has a run, or a word on which test has it", () => {
  const text = readFileSync(join(import.meta.dir, "regressions.txt"), "utf8");
  const words = new Set(text.match(/[a-z\d-]+/g));
  for (const { name } of FOUND_MUTANTS) expect(words).toContain(name);
});

test("what is said to fail with a bug is a test that there is", () => {
  const text = readFileSync(join(import.meta.dir, "regressions.txt"), "utf8");
  const named = [...text.matchAll(/(src\/\S+\.test\.ts), "([^"]+)"/g)];
  for (const [, file, name] of named) expect(readFileSync(join(ROOT, file!), "utf8")).toContain(name!);
});

test("a line is a run, a planted bug and words, or a comment", () => {
  const text = "# of old\n\n--seed 3 --course any  # half-is-a-majority: What it was, and # so.\n";
  expect(parseRegressions(text)).toEqual([
    { flags: ["--seed", "3", "--course", "any"], mutant: "half-is-a-majority" },
  ]);
  for (const line of ["--seed 3", "--seed 3  # What it was.", "--course any  # a: what it was"])
    expect(() => parseRegressions(`# of old\n${line}`)).toThrow("line 2 of the regressions");
});
