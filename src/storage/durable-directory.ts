import { dirname } from "node:path";
import { FileError, type FileSystem } from "../env/env.ts";

/**
 * What the sync of a directory fails with that must not be read, or is on a file system that can only be read: then somebody
 * else has made what is in it, and long ago.
 */
const NOT_OURS: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS", "EINVAL"]);

/**
 * Creates a directory and its parents, those that are not there, each durably: what is put into it must not go with it.
 * That holds for one that is there, too: it may have been made just before a crash.
 */
export function makeDurableDirectory(
  fs: Pick<FileSystem, "exists" | "makeDirectory" | "syncDirectorySync">,
  directory: string,
): void {
  const parent = dirname(directory);
  if (parent === directory) return;
  const isThere = fs.exists(directory);
  if (!isThere) {
    makeDurableDirectory(fs, parent);
    fs.makeDirectory(directory);
  }
  try {
    fs.syncDirectorySync(parent);
  } catch (error) {
    if (!isThere || !(error instanceof FileError) || !NOT_OURS.has(error.code)) throw error;
  }
}
