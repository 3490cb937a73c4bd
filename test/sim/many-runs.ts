import { join } from "node:path";
import type { SimulationOptions } from "./options.ts";
import type { RunResult } from "./simulation.ts";

export interface ManyRuns {
  /** Of the first run; the others have the seeds that follow. */
  readonly options: SimulationOptions;
  readonly runs: number;
  /** Processes that work side by side. */
  readonly workers: number;
  /** Hears of each run as it ends, in no particular order; false: no more are begun. */
  readonly done: (result: RunResult) => boolean;
  /** A run that takes longer is given up; ten minutes if it is not said. */
  readonly runMsMax?: number;
}

/** Runs of one worker, after which another process takes its place: what they leave in memory goes with it. */
const RUNS_PER_PROCESS = 200;
/** A run that takes longer than this, on a machine that has other things to do as well, has come to a place where it does not go on. */
const RUN_MS_MAX = 600_000;

/**
 * Runs many seeds in processes of their own. A process that ends in the middle of a run, or does not end it, is a run that
 * failed.
 */
export async function runMany(parts: ManyRuns): Promise<void> {
  const { options, runs, workers, done, runMsMax = RUN_MS_MAX } = parts;
  let next = 0;
  let goesOn = true;
  const takeSeed = (): number | undefined => (goesOn && next < runs ? options.seed + next++ : undefined);
  const tell = (result: RunResult): void => {
    if (!done(result)) goesOn = false;
  };
  const work = async (): Promise<void> => {
    while (goesOn && next < runs) await runProcess(options, runMsMax, takeSeed, tell);
  };
  await Promise.all(Array.from({ length: Math.min(workers, runs) }, work));
}

/** Runs one seed in a process of its own, for at most `limitMs` of the real time. */
export async function runApart(options: SimulationOptions, limitMs: number): Promise<RunResult> {
  let result: RunResult | undefined;
  const done = (found: RunResult): boolean => {
    result = found;
    return true;
  };
  await runMany({ options, runs: 1, workers: 1, done, runMsMax: limitMs });
  return result!;
}

async function runProcess(
  options: SimulationOptions,
  runMsMax: number,
  takeSeed: () => number | undefined,
  tell: (result: RunResult) => void,
): Promise<void> {
  let seed: number | undefined;
  let left = RUNS_PER_PROCESS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isLate = false;
  const giveUp = (): void => {
    isLate = true;
    child.kill("SIGKILL");
  };
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "worker.ts")], {
    stdio: ["ignore", "inherit", "inherit"],
    ipc: (message: "ready" | RunResult) => {
      clearTimeout(timer);
      if (message !== "ready") tell(message);
      seed = left-- > 0 ? takeSeed() : undefined;
      if (seed === undefined) child.kill();
      else {
        child.send({ ...options, seed });
        timer = setTimeout(giveUp, runMsMax);
      }
    },
  });
  await child.exited;
  clearTimeout(timer);
  if (seed === undefined) return;
  const end = `its process ended (${child.signalCode ?? child.exitCode}) in the run`;
  tell({
    ...NOTHING,
    seed,
    problem: isLate ? `it took longer than ${runMsMax / 1000} s and was given up` : end,
  });
}

/** Nothing is known of a run that did not end. */
const NOTHING: Omit<RunResult, "seed" | "problem"> = {
  ...{ ok: false, trace: "", events: 0, simulatedS: 0, faults: {}, lastEvents: [], operations: 0 },
  ...{ snapshots: 0, planned: 0, profile: undefined },
};
