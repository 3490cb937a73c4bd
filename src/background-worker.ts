/**
 * The composition root of the background thread: it runs the named jobs that `bun-background.ts` sends. Jobs take turns
 * where they pause, so a flush does not wait for a long compaction to end.
 */

import { backgroundJobs } from "./background-jobs.ts";
import type { JobRequest, WorkerMessage } from "./env/bun-background.ts";
import { bunFileSystem } from "./env/bun-fs.ts";

declare const self: Worker;

const fs = bunFileSystem();
const say = (message: WorkerMessage): void => self.postMessage(message);
/** Lets the messages that have arrived be handled. */
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function run({ id, job, argument }: JobRequest): Promise<void> {
  try {
    const action = backgroundJobs.get(job);
    if (action === undefined) throw new Error(`there is no job ${job}`);
    say({ kind: "done", id, result: await action(fs, argument, pause) });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    say({ kind: "failed", id, name, code, message });
  }
}

self.onmessage = (event: MessageEvent<JobRequest>) => {
  void run(event.data);
};
say({ kind: "ready" });
