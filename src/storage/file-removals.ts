/**
 * Files that nobody needs any more, removed in the background: to remove one of some megabytes takes the file system
 * milliseconds, and tens of them when the disk is busy.
 */
import type { Background, FileSystem, Log } from "../env/env.ts";
import { messageOf } from "./storage-error.ts";

/** The background job that removes files. */
export const REMOVE_JOB = "storage.remove";

/** Removes files, and lets other jobs run between two of them. Throws `FileError`. */
export async function removeFiles(
  fs: FileSystem,
  paths: readonly string[],
  pause: () => Promise<void>,
): Promise<void> {
  for (const path of paths) {
    fs.remove(path);
    await pause();
  }
}

export class FileRemovals {
  readonly #background: Background;
  readonly #log: Log;
  #waiting: string[] = [];
  #running: Promise<void> | undefined;

  constructor(background: Background, log: Log) {
    this.#background = background;
    this.#log = log;
  }

  /** A file that can't be removed stays, and goes when the store is opened the next time. */
  remove(path: string): void {
    this.#waiting.push(path);
    this.#running ??= this.#run();
  }

  /** Settles when nothing is left to be removed. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // What is dropped together is removed together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const paths = this.#waiting;
      this.#waiting = [];
      try {
        await this.#background.run(REMOVE_JOB, paths);
      } catch (error) {
        this.#log.warn("files that are not needed any more stay", {
          files: paths.length,
          error: messageOf(error),
        });
      }
    }
    this.#running = undefined;
  }
}
