/**
 * Runs all tests and says, alone on the last line, how many passed and failed. Arguments are handed to `bun test`:
 * `bun scripts/run-tests.ts src/raft` runs a part.
 *
 * One seed is printed for everything random in the tests; `SEED=<it>` in the environment repeats the run.
 */
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The bound of a test that sets none of its own. Bun's own is 5 s, too short for real processes on a busy machine. */
const TEST_MS_MAX = 20_000;
/** The same for tests that get the processor only when others leave it. */
const BESIDE_MS_MAX = 120_000;

interface Counts {
  readonly passed: number;
  readonly failed: number;
}

interface Part {
  readonly exitCode: number;
  /** `undefined`: there is no report. */
  readonly counts: Counts | undefined;
  /** What it printed and nobody has seen yet. */
  readonly output: string;
}

const ROOT = join(import.meta.dir, "..");
const seed = process.env.SEED ?? String(crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1);
console.log(`seed ${seed} (SEED=${seed} repeats it)`);

const directory = mkdtempSync(join(tmpdir(), "flotilla-tests-"));
const asked = process.argv.slice(2);
const parts = asked.length > 0 ? [runPart(asked)] : runAll();
const done = await Promise.all(parts);
for (const { output } of done) process.stdout.write(output);
rmSync(directory, { recursive: true });

const exitCode = done.find((part) => part.exitCode !== 0)?.exitCode ?? 0;
const counts = done.map((part) => part.counts).filter((each) => each !== undefined);
if (counts.length < done.length) console.log("the tests ended without a report");
const passed = counts.reduce((sum, each) => sum + each.passed, 0);
const counted = counts.reduce((sum, each) => sum + each.failed, 0);
if (counts.length === done.length && passed + counted === 0) console.log("no tests ran");
if (exitCode !== 0) console.log(`to repeat: SEED=${seed} bun scripts/run-tests.ts`);
// What fails outside of a test (an import, an exception between tests) is in no count, but in the exit code.
const isWhole = exitCode === 0 && passed > 0 && counts.length === done.length;
const failed = Math.max(counted, isWhole ? 0 : 1);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/**
 * All there are: those of the simulator beside the others. They take processor time and no notice of how late it is, and the
 * others, with their real processes, wait most of the time.
 */
function runAll(): readonly Promise<Part>[] {
  const files = [...new Bun.Glob("{bench,protocol,scripts,src,test}/**/*.test.ts").scanSync(ROOT)].sort();
  const isSimulated = (file: string) => file.startsWith("test/sim/");
  const pathOf = (file: string) => `./${file}`;
  return [
    runPart(files.filter((file) => !isSimulated(file)).map(pathOf)),
    runPart(files.filter(isSimulated).map(pathOf), "beside"),
  ];
}

/** `beside`: it gets what the others leave of the processor, and its output follows on theirs. */
async function runPart(selection: readonly string[], how: "alone" | "beside" = "alone"): Promise<Part> {
  const report = join(directory, `${how}.xml`);
  const [before, timeoutMs] = how === "alone" ? [[], TEST_MS_MAX] : [["nice", "-n", "19"], BESIDE_MS_MAX];
  const kept = join(directory, "output");
  const output = how === "alone" ? "inherit" : openSync(kept, "w");
  const child = Bun.spawn(
    [
      ...[...before, process.execPath, "test", `--timeout=${timeoutMs}`],
      ...["--reporter=junit", `--reporter-outfile=${report}`],
      ...selection,
    ],
    { cwd: ROOT, env: { ...process.env, SEED: seed }, stdio: ["ignore", output, output] },
  );
  const exitCode = await child.exited;
  return { exitCode, counts: readCounts(report), output: how === "alone" ? "" : readFileSync(kept, "utf8") };
}

/** The totals of bun's JUnit report, `undefined` if there is none. Skipped tests count as neither. */
function readCounts(path: string): Counts | undefined {
  let xml: string;
  try {
    xml = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  const totals = /<testsuites [^>]*>/.exec(xml)?.[0];
  if (totals === undefined) return undefined;
  const count = (name: string): number => Number(new RegExp(` ${name}="(\\d+)"`).exec(totals)?.[1] ?? 0);
  const failed = count("failures") + count("errors");
  return { passed: count("tests") - failed - count("skipped"), failed };
}
