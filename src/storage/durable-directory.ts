import { dirname } from "node:path";
import type { FileSystem } from "../env/env.ts";

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
