import type { FileSystem } from "./env/env.ts";
import { ALLOCATE_JOB, type AllocateArgument, allocateFile } from "./shard/log-spare.ts";
import { type Job, storageJobs } from "./storage/background-jobs.ts";

/** All jobs of a node's background thread, by name. */
export const backgroundJobs: ReadonlyMap<string, Job> = new Map<string, Job>([
  ...storageJobs,
  [ALLOCATE_JOB, (fs: FileSystem, argument, pause) => allocateFile(fs, argument as AllocateArgument, pause)],
]);
