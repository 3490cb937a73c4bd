import { expect, test } from "bun:test";
import { join } from "node:path";
import { huntOf } from "./mutant-hunt.ts";

test("what the simulator says of one run and of many is read alike", () => {
  const failure = "seed 7 failed: two leaders of term 3\n  an event\n";
  expect(huntOf(`${failure}{"seed":7,"ok":false,"trace":"0"}\n`, 1)).toEqual({
    ...{ caught: true, seeds: 1, seed: 7, problem: "two leaders of term 3" },
  });
  expect(huntOf('{"seed":7,"ok":true}\n', 0)).toEqual({
    ...{ caught: false, seeds: 1, seed: undefined, problem: undefined },
  });
  expect(huntOf(`${failure}{"runs":9,"failed":1,"seeds_failed":[7]}\n`, 1)).toEqual({
    ...{ caught: true, seeds: 9, seed: 7, problem: "two leaders of term 3" },
  });
  expect(huntOf('{"runs":9,"failed":0,"seeds_failed":[]}', 0).caught).toBe(false);
  expect(() => huntOf("", 2)).toThrow("the simulator ended with 2 and without a result");
});

test("what makes no sense is said in a sentence", async () => {
  for (const [flags, problem] of [
    [["--seeds", "0"], "a whole number of at least 1 was expected"],
    [["--seeds", "abc"], "a whole number of at least 1 was expected"],
    [["--mutants", "nope"], 'there is no mutant "nope"'],
  ] as const) {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "mutants.ts"), ...flags], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const said = await new Response(child.stderr).text();
    expect(await child.exited).toBe(2);
    expect(said.trim().split("\n")).toHaveLength(1);
    expect(said).toContain(problem);
  }
});
