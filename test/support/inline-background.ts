import { backgroundJobs } from "../../src/background-jobs.ts";
import type { Background, FileSystem } from "../../src/env/env.ts";

/**
 * The background jobs on the caller's own thread, cut into steps where they pause: for tests and simulations. `pause`
 * decides how long a job waits before it begins and between its steps.
 */
export function inlineBackground(
  fs: FileSystem,
  pause: () => Promise<void> = () => Promise.resolve(),
): Background {
  return {
    run: async (job, argument) => {
      const action = backgroundJobs.get(job);
      if (action === undefined) throw new Error(`there is no job ${job}`);
      await pause();
      return action(fs, argument, pause);
    },
    close: async () => {},
  };
}
