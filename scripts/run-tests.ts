/**
 * Runs all tests and says, alone on the last line, how many passed and failed. Arguments are handed to `bun test`:
 * `bun scripts/run-tests.ts src/raft` runs a part.
 *
 * One seed is printed for everything random in the tests; `SEED=<it>` in the environment repeats the run.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The bound of a test that sets none of its own. Bun's own is 5 s, too short for real processes on a busy machine. */
const TEST_MS_MAX = 20_000;

interface Counts {
  readonly passed: number;
  readonly failed: number;
}

const seed = process.env.SEED ?? String(crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1);
console.log(`seed ${seed} (SEED=${seed} repeats it)`);

const directory = mkdtempSync(join(tmpdir(), "flotilla-tests-"));
const report = join(directory, "junit.xml");
const child = Bun.spawn(
  [
    ...[process.execPath, "test", `--timeout=${TEST_MS_MAX}`],
    ...["--reporter=junit", `--reporter-outfile=${report}`],
    ...process.argv.slice(2),
  ],
  {
    cwd: join(import.meta.dir, ".."),
    env: { ...process.env, SEED: seed },
    stdio: ["ignore", "inherit", "inherit"],
  },
);
const exitCode = await child.exited;
const counts = readCounts(report);
rmSync(directory, { recursive: true });

if (counts === undefined) console.log("the tests ended without a report");
else if (counts.passed + counts.failed === 0) console.log("no tests ran");
if (exitCode !== 0) console.log(`to repeat: SEED=${seed} bun scripts/run-tests.ts`);
// What fails outside of a test (an import, an exception between tests) is in no count, but in the exit code.
const passed = counts?.passed ?? 0;
const failed = Math.max(counts?.failed ?? 1, exitCode === 0 && passed > 0 ? 0 : 1);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

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
