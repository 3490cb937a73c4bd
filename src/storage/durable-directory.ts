import { dirname } from "node:path";
import type { FileSystem } from "../env/env.ts";
import { messageOf, StorageError } from "./storage-error.ts";

/** Creates a directory and its parents, those that are not there, each durably: what is put into it must not go with it. */
export function makeDurableDirectory(
  fs: Pick<FileSystem, "exists" | "makeDirectory" | "syncDirectorySync">,
  directory: string,
): void {
  if (fs.exists(directory)) return;
  const parent = dirname(directory);
  if (parent !== directory) makeDurableDirectory(fs, parent);
  fs.makeDirectory(directory);
  fs.syncDirectorySync(parent);
}

/**
 * Makes what was created, renamed and removed in a directory durable. Throws `FAILED`, which is final, whatever the sync
 * failed with: others rely on the same directory, and another sync of it could succeed without their names.
 */
export function syncDirectoryOrFail(fs: FileSystem, directory: string): void {
  try {
    fs.syncDirectorySync(directory);
  } catch (error) {
    throw new StorageError("FAILED", `cannot sync ${directory}: ${messageOf(error)}`, { cause: error });
  }
}
