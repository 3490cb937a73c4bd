/** The benchmark as it is called, at a size that takes seconds: every line of the contract, by both engines. */
import { beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineName, type Figure, OPS } from "./lines.ts";

const NUM = 2000;
const ENTRY = join(import.meta.dir, "../engine.ts");

interface Ended {
  readonly code: number;
  readonly output: string;
  readonly complaints: string;
}

async function bench(...args: string[]): Promise<Ended> {
  const child = Bun.spawn([process.execPath, ENTRY, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, complaints, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, output, complaints };
}

describe("bun run bench:engine --json", () => {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-bench-test-"));
  let ended: Ended;
  let figures: Figure[];

  beforeAll(async () => {
    ended = await bench("--num", String(NUM), "--json", "--dir", directory);
    const lines = ended.output.split("\n").filter((line) => line !== "");
    figures = lines.map((line) => JSON.parse(line) as Figure);
  }, 60_000);

  test("ends well, complains of nothing and leaves nothing behind", () => {
    expect({ code: ended.code, complaints: ended.complaints }).toEqual({ code: 0, complaints: "" });
    expect(readdirSync(directory)).toEqual([]);
    rmSync(directory, { recursive: true });
  });

  test.each(["flotilla", "classic-level"] satisfies EngineName[])("has each line of %s once", (engine) => {
    const ops = figures.filter((figure) => figure.engine === engine).map(({ op }) => op);
    expect(ops.sort()).toEqual([...OPS].sort());
  });

  test("has the contract's fields first, with figures that agree", () => {
    for (const figure of figures) {
      expect(Object.keys(figure).slice(0, 5)).toEqual(["engine", "op", "num", "us_op", "ops_s"]);
      expect(figure.num).toBe(NUM);
      expect(figure.us_op).toBeGreaterThan(0);
      expect(Math.abs((figure.us_op * figure.ops_s) / 1e6 - 1)).toBeLessThan(0.01);
    }
  });

  test("tells what a fill costs beside its time", () => {
    const fills = figures.filter(({ op }) => op.startsWith("fill") && !op.startsWith("fillsync"));
    expect(fills).toHaveLength(8);
    for (const { loop_p99_ms, loop_max_ms, write_amp, space_amp, rss_peak_bytes } of fills) {
      expect(loop_p99_ms).toBeLessThanOrEqual(loop_max_ms!);
      expect(loop_max_ms).toBeGreaterThan(0);
      // Each entry is in the log at least, and in some file.
      if (process.platform === "linux") expect(write_amp).toBeGreaterThan(1);
      expect(space_amp).toBeGreaterThan(1);
      expect(rss_peak_bytes).toBeGreaterThan(1024 * 1024);
    }
  });
});

test("a line that reads needs no other to be asked for, and rounds become one line", async () => {
  const { code, output } = await bench(
    ...["--num", "500", "--json", "--engine", "flotilla", "--ops", "readrandom", "--rounds", "2"],
  );
  expect(code).toBe(0);
  expect(JSON.parse(output)).toMatchObject({ engine: "flotilla", op: "readrandom", num: 500, rounds: 2 });
}, 30_000);

test("without --json there is a table with the ratio", async () => {
  const { code, output } = await bench("--num", "500", "--ops", "fillbatch");
  expect(code).toBe(0);
  expect(output).toContain("ratio to classic-level");
  expect(output).toMatch(/fillbatch +│ +[\d.]+ │ +[\d.]+ │ +[\d.]+ │/);
}, 30_000);

test("a wrong command line is refused", async () => {
  const { code, complaints } = await bench("--ops", "fillsequel");
  expect(code).toBe(2);
  expect(complaints).toContain('"fillsequel" is none of fillseq');
});
