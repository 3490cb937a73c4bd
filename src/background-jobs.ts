import { type Job, storageJobs } from "./storage/background-jobs.ts";

/** All jobs of a node's background thread, by name: those of the engine, of which one serves the Raft log too. */
export const backgroundJobs: ReadonlyMap<string, Job> = storageJobs;
