/**
 * The real file system: `node:fs` as Bun implements it. Reads and writes block, which from and to the page cache is
 * faster than any promise; syncs are left to Bun's thread pool. The lock is one of SQLite's, which comes with Bun: an
 * exclusive transaction on the lock file holds a lock of the operating system, which dies with the process.
 */
import { Database } from "bun:sqlite";
import * as nodeFs from "node:fs";
import { FileError, type FileHandle, type FileLock, type FileSystem } from "./env.ts";

/** The calls that may do less than they are asked for. */
export type ShortCalls = Pick<typeof nodeFs, "readSync" | "writeSync">;

/** `calls`: for tests that cut them short. */
export function bunFileSystem(calls: ShortCalls = nodeFs): FileSystem {
  return {
    open: (path, mode) => {
      const fd = attempt(`cannot open ${path}`, () => nodeFs.openSync(path, FLAGS[mode]));
      return new BunFileHandle(path, fd, calls);
    },
    exists: nodeFs.existsSync,
    list: (directory) =>
      attempt(`cannot list ${directory}`, () =>
        nodeFs.existsSync(directory) ? nodeFs.readdirSync(directory).sort() : [],
      ),
    makeDirectory: (directory) =>
      attempt(`cannot create the directory ${directory}`, () => {
        nodeFs.mkdirSync(directory, { recursive: true });
      }),
    removeDirectory: (directory) =>
      attempt(`cannot remove the directory ${directory}`, () => nodeFs.rmdirSync(directory)),
    rename: (from, to) => attempt(`cannot rename ${from} to ${to}`, () => nodeFs.renameSync(from, to)),
    link: (from, to) => attempt(`cannot link ${from} as ${to}`, () => nodeFs.linkSync(from, to)),
    remove: (path) => attempt(`cannot remove ${path}`, () => nodeFs.rmSync(path, { force: true })),
    syncDirectory: async (directory) => {
      const fd = openDirectory(directory);
      try {
        await syncFd(fd, directory, nodeFs.fsync);
      } finally {
        nodeFs.closeSync(fd);
      }
    },
    syncDirectorySync: (directory) => {
      const fd = openDirectory(directory);
      try {
        attempt(`cannot sync the directory ${directory}`, () => nodeFs.fsyncSync(fd));
      } finally {
        nodeFs.closeSync(fd);
      }
    },
    lock,
    lockHolder,
  };
}

const FLAGS = { create: "wx+", write: "r+", read: "r" } as const;

class BunFileHandle implements FileHandle {
  readonly path: string;
  readonly #fd: number;
  readonly #calls: ShortCalls;
  #open = true;

  constructor(path: string, fd: number, calls: ShortCalls) {
    this.path = path;
    this.#fd = fd;
    this.#calls = calls;
  }

  size(): number {
    return attempt(`cannot stat ${this.path}`, () => nodeFs.fstatSync(this.#fd).size);
  }

  read(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    let done = 0;
    try {
      while (done < length) {
        const got = this.#calls.readSync(
          this.#fd,
          target,
          targetOffset + done,
          length - done,
          position + done,
        );
        if (got === 0) break;
        done += got;
      }
    } catch (error) {
      throw fileError(`cannot read ${length} bytes at ${position} of ${this.path}`, error);
    }
    return done;
  }

  write(bytes: Uint8Array, start: number, end: number, position: number): void {
    let at = start;
    try {
      while (at < end) {
        const written = this.#calls.writeSync(this.#fd, bytes, at, end - at, position + at - start);
        if (written === 0) throw new FileError("EIO", "nothing could be written");
        at += written;
      }
    } catch (error) {
      throw fileError(`cannot write ${end - start} bytes at ${position} of ${this.path}`, error);
    }
  }

  sync(): Promise<void> {
    return syncFd(this.#fd, this.path, nodeFs.fdatasync);
  }

  syncNow(): void {
    attempt(`cannot sync ${this.path}`, () => nodeFs.fdatasyncSync(this.#fd));
  }

  truncate(length: number): void {
    attempt(`cannot truncate ${this.path} to ${length} bytes`, () => nodeFs.ftruncateSync(this.#fd, length));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    attempt(`cannot close ${this.path}`, () => nodeFs.closeSync(this.#fd));
  }
}

function openDirectory(directory: string): number {
  return attempt(`cannot open the directory ${directory}`, () => nodeFs.openSync(directory, "r"));
}

type SyncCall = (fd: number, callback: (error: Error | null) => void) => void;

function syncFd(fd: number, path: string, call: SyncCall): Promise<void> {
  return new Promise((resolve, reject) => {
    call(fd, (error) => {
      if (error) reject(fileError(`cannot sync ${path}`, error));
      else resolve();
    });
  });
}

function lock(path: string): FileLock | undefined {
  let database: Database | undefined;
  try {
    database = new Database(path, { create: true });
    database.run("PRAGMA locking_mode = EXCLUSIVE");
    // Without a journal on disk the lock needs no space: a node can start, and say more, on a disk that is full.
    database.run("PRAGMA journal_mode = MEMORY");
    database.run("BEGIN EXCLUSIVE");
  } catch (error) {
    database?.close();
    if (codeOf(error) === "SQLITE_BUSY") return undefined;
    throw fileError(`cannot lock ${path}`, error);
  }
  const held = database;
  return { release: () => held.close() };
}

/** Linux lists all locks of files, each with its process, device and inode. Other systems don't tell. */
function lockHolder(path: string): number | undefined {
  try {
    const { dev, ino } = nodeFs.statSync(path);
    const hex = (number: number): string => number.toString(16).padStart(2, "0");
    const device = `${hex((dev >>> 8) & 0xfff)}:${hex((dev & 0xff) | ((dev >>> 12) & 0xfff00))}`;
    for (const line of nodeFs.readFileSync("/proc/locks", "utf8").split("\n")) {
      const [, type, , mode, pid, file] = line.split(/\s+/);
      // Who waits for a lock has a line with an arrow, which these don't fit.
      if (type === "POSIX" && mode === "WRITE" && file === `${device}:${ino}`) return Number(pid);
    }
  } catch {
    // There is no such list, or no such file: nobody is known.
  }
  return undefined;
}

function attempt<Result>(doing: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw fileError(doing, error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "EIO";
}

function fileError(doing: string, error: unknown): FileError {
  const reason = error instanceof Error ? error.message : String(error);
  return new FileError(codeOf(error), `${doing}: ${reason}`, { cause: error });
}
