import type { FileSystem } from "../env/env.ts";
import { REMOVE_JOB, removeFiles } from "./file-removals.ts";
import { ALLOCATE_JOB, type AllocateArgument, allocateFile } from "./spare-files.ts";
import {
  type CompactArgument,
  compactTables,
  type FlushArgument,
  flushMemtable,
  type Pause,
} from "./table-building.ts";

export const FLUSH_JOB = "storage.flush";
export const COMPACT_JOB = "storage.compact";

/** A job of the background thread: its argument came by structured clone, and its result goes back that way. */
export type Job = (fs: FileSystem, argument: unknown, pause: Pause) => Promise<unknown>;

/** The engine's jobs by name. */
export const storageJobs: ReadonlyMap<string, Job> = new Map<string, Job>([
  [FLUSH_JOB, (fs, argument, pause) => flushMemtable(fs, argument as FlushArgument, pause)],
  [COMPACT_JOB, (fs, argument, pause) => compactTables(fs, argument as CompactArgument, pause)],
  [REMOVE_JOB, (fs, argument, pause) => removeFiles(fs, argument as string[], pause)],
  [ALLOCATE_JOB, (fs, argument, pause) => allocateFile(fs, argument as AllocateArgument, pause)],
]);
