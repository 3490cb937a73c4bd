/**
 * `bun run load`: puts a load on a cluster and tells how it did. One tool for Flotilla's binary protocol and for RESP, so
 * that Flotilla and redis-server are measured by the same means.
 *
 * It usually shares its machine with the servers that it measures, so it is made to cost little: a few microseconds an
 * operation. `load/runner.ts` has the clients and the two kinds of loop, the drivers beside it the wires.
 *
 * Exits with 0, with 1 if nothing succeeded, with 2 for a wrong command line.
 */
import { CommanderError } from "commander";
import { bunTransport } from "../src/env/bun-transport.ts";
import type { Clock } from "../src/env/env.ts";
import { systemClock } from "../src/env/system-clock.ts";
import { seededRandom } from "../src/lib/prng.ts";
import { BinaryDriver } from "./load/binary-driver.ts";
import type { Driver } from "./load/driver.ts";
import { makeValues } from "./load/keys.ts";
import { type LoadOptions, parseOptions } from "./load/options.ts";
import { createProgress, type Progress } from "./load/progress.ts";
import { Recorder } from "./load/recorder.ts";
import { jsonLine, progressLine, textReport } from "./load/report.ts";
import { RespDriver } from "./load/resp-driver.ts";
import { Runner } from "./load/runner.ts";
import { KeySpace, LoadSource, Workload } from "./load/workload.ts";

const PROGRESS_MS = 1000;

process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  let options: LoadOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const clock = systemClock();
  const driver = createDriver(options, clock);
  const runner = new Runner({ driver, clock, clients: options.clients });
  try {
    await driver.open(runner);
  } catch (error) {
    console.error(`load: ${(error as Error).message}`);
    return 1;
  }
  const progress = createProgress(process.stderr);
  if (options.loadKeys && !(await loadKeys(options, runner, clock, progress))) return 1;
  const { summary, redirects } = await measure(options, runner, driver, clock, progress);
  driver.close();
  console.log(textReport(options, summary, redirects));
  if (options.json) console.log(jsonLine(options, summary, redirects));
  return summary.succeeded > 0 ? 0 : 1;
}

function createDriver(options: LoadOptions, clock: Clock): Driver {
  const { addresses, clients, connections } = options;
  const values = makeValues(options.valueBytes, seededRandom(options.seed).below);
  const transport = bunTransport();
  return options.protocol === "resp"
    ? new RespDriver({ transport, clock, addresses, clients, connections, values })
    : new BinaryDriver({ transport, clock, addresses, clients, connectionsPerNode: connections, values });
}

/** Writes every key once; false if that can't be done. */
async function loadKeys(
  { keys }: LoadOptions,
  runner: Runner,
  clock: Clock,
  progress: Progress,
): Promise<boolean> {
  const recorder = new Recorder();
  const source = new LoadSource(keys);
  recorder.begin(clock.nowMs());
  const timer = setInterval(() => {
    recorder.look(clock.nowMs());
    progress.show(
      `loading keys: ${source.stored.toLocaleString("en-US")} of ${keys.toLocaleString("en-US")}`,
    );
  }, PROGRESS_MS);
  await runner.start({ source, recorder }).done;
  clearInterval(timer);
  progress.finish();
  if (source.stored === keys) return true;
  recorder.end(clock.nowMs());
  console.error(`load: gave up loading the keys, ${source.stored} of ${keys} are stored`);
  for (const [name, { count, example }] of recorder.summary().errorKinds) {
    console.error(`  ${name}: ${count}, the first: ${example}`);
  }
  return false;
}

async function measure(
  options: LoadOptions,
  runner: Runner,
  driver: Driver,
  clock: Clock,
  progress: Progress,
) {
  const recorder = new Recorder();
  const source = new Workload(
    options.workload,
    new KeySpace(options.keys),
    seededRandom(options.seed + 1),
    options.distribution,
  );
  const { done } = runner.start({ source, recorder, rate: options.rate });
  await Bun.sleep(options.warmupSeconds * 1000);
  const beginMs = clock.nowMs();
  recorder.begin(beginMs);
  const redirectsBefore = driver.redirects;
  const timer = setInterval(() => {
    const now = clock.nowMs();
    progress.show(progressLine((now - beginMs) / 1000, recorder.look(now)));
  }, PROGRESS_MS);
  await Bun.sleep(options.seconds * 1000);
  clearInterval(timer);
  recorder.end(clock.nowMs());
  runner.stop();
  await done;
  progress.finish();
  return { summary: recorder.summary(), redirects: driver.redirects - redirectsBefore };
}
