import { FileError } from "../env/env.ts";
import { LogDamageError } from "../shard/log-segment.ts";
import { StorageError } from "../storage/storage-error.ts";

const DAMAGED =
  "The damaged bytes were neither served nor repaired. Look for disk errors in the kernel's log and keep the directory as it is. " +
  "The other members of a cluster go on without this node, which must not come back with an empty directory; " +
  "a store of one node needs a copy of the whole directory from before, or, with losses, `bun run engine repair` of the " +
  "directory engine in it, which prints first what it would do.";
const FULL = "Free space on that disk and start the node again; what was acknowledged is there.";
const FORBIDDEN =
  "Let the user who runs the node read and write there, or name another directory with --data.";

const FULL_CODES = ["ENOSPC", "EDQUOT", "SQLITE_FULL"];
const FORBIDDEN_CODES = ["EACCES", "EPERM", "EROFS", "SQLITE_CANTOPEN", "SQLITE_READONLY"];

/** What somebody can do about the error that ended a node, in sentences; `undefined` where its message says all there is. */
export function adviceOn(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof LogDamageError) return DAMAGED;
  if (error instanceof StorageError && error.code === "CORRUPT") return DAMAGED;
  if (error instanceof FileError && FULL_CODES.includes(error.code)) return FULL;
  if (error instanceof FileError && FORBIDDEN_CODES.includes(error.code)) return FORBIDDEN;
  return adviceOn(error.cause);
}
