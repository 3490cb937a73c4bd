import type { Background, FileSystem } from "../../src/env/env.ts";
import { storageJobs } from "../../src/storage/background-jobs.ts";

/** The background jobs on the caller's own thread, cut into steps where they pause: for tests and simulations. */
export function inlineBackground(fs: FileSystem): Background {
  return {
    run: async (job, argument) => {
      const action = storageJobs.get(job);
      if (action === undefined) throw new Error(`there is no job ${job}`);
      await Promise.resolve();
      return action(fs, argument, () => Promise.resolve());
    },
    close: async () => {},
  };
}
