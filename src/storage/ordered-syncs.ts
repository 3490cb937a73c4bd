import type { FileSystem } from "../env/env.ts";

/**
 * The file system `fs`, with the syncs of one directory in order: one at a time, and none after one that failed.
 *
 * Several parts of a store create, rename and remove files in its directory, and each syncs it for its own names. A sync
 * that fails may have lost the names of all of them, and the next one would succeed without having written any: the part
 * that asked for that would go on with names that are not on the disk. So whoever asks after a failure, or while the sync
 * that fails is under way, is told of the failure as well. Calls that come during a sync share the next one.
 */
export function orderedSyncs(fs: FileSystem, directory: string): FileSystem {
  const syncs = new DirectorySyncs(fs, directory);
  return {
    open: (path, mode) => fs.open(path, mode),
    exists: (path) => fs.exists(path),
    list: (path) => fs.list(path),
    makeDirectory: (path) => fs.makeDirectory(path),
    removeDirectory: (path) => fs.removeDirectory(path),
    rename: (from, to) => fs.rename(from, to),
    link: (from, to) => fs.link(from, to),
    remove: (path) => fs.remove(path),
    syncDirectory: (path) => (path === directory ? syncs.sync() : fs.syncDirectory(path)),
    syncDirectorySync: (path) => (path === directory ? syncs.syncNow() : fs.syncDirectorySync(path)),
    lock: (path) => fs.lock(path),
    lockHolder: (path) => fs.lockHolder(path),
  };
}

class DirectorySyncs {
  readonly #fs: FileSystem;
  readonly #directory: string;
  #running: Promise<void> | undefined;
  /** Begins when the one that runs has ended. */
  #next: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs;
    this.#directory = directory;
  }

  sync(): Promise<void> {
    // It has not begun, also where the one before it has just ended.
    if (this.#next !== undefined) return this.#next;
    const running = this.#running;
    if (running === undefined) return this.#start();
    this.#next = running.then(() => {
      this.#next = undefined;
      return this.#start();
    });
    return this.#next;
  }

  syncNow(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      this.#fs.syncDirectorySync(this.#directory);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  #start(): Promise<void> {
    const sync = this.#sync().finally(() => {
      if (this.#running === sync) this.#running = undefined;
    });
    this.#running = sync;
    return sync;
  }

  async #sync(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      await this.#fs.syncDirectory(this.#directory);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }
}
