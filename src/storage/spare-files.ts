/**
 * Files for a log's next parts, allocated ahead. Overwriting what is allocated is synced in about two thirds of the time
 * of growing a file, since the file system has nothing of its own to write down. A spare is a part of the log that is
 * not needed any more, or is made in the background, of zeros.
 *
 * What is in a spare means nothing, and spares mean nothing to the next process, which removes them: a crash may have
 * left a spare's name on a file that has become part of the log.
 */
import type { Env, FileSystem } from "../env/env.ts";
import { TEMPORARY_SUFFIX } from "./file-names.ts";
import { removeQuietly } from "./record-log.ts";

/** The background job that makes a file of zeros. */
export const ALLOCATE_JOB = "log.allocate";
const STEP_BYTES = 1024 * 1024;

export interface AllocateArgument {
  readonly path: string;
  readonly bytes: number;
}

/**
 * Makes `path` a file of `bytes` zeros, durably, in steps that leave the disk to others in between. What can't be made as
 * a whole is removed: the last of the space is for the log itself.
 */
export async function allocateFile(
  fs: FileSystem,
  { path, bytes }: AllocateArgument,
  pause: () => Promise<void>,
): Promise<void> {
  const zeros = new Uint8Array(Math.min(bytes, STEP_BYTES));
  // What an attempt that failed half-way has left.
  fs.remove(path);
  const file = fs.open(path, "create");
  let done = false;
  try {
    for (let at = 0; at < bytes; at += zeros.length) {
      file.write(zeros, 0, Math.min(zeros.length, bytes - at), at);
      file.syncNow();
      await pause();
    }
    done = true;
  } finally {
    file.close();
    if (!done) fs.remove(path);
  }
}

export interface SpareOptions {
  /** The length of a file that is made, in bytes. A shorter one than half of that is not worth keeping. */
  readonly fileBytes: number;
  /** How many spares there may be. */
  readonly max: number;
}

const NAME = new RegExp(`^spare-\\d+\\${TEMPORARY_SUFFIX}$`);

/** A name for a file that is written before it takes the place of another one, if the next start is to remove it. */
export function unfinishedPath(directory: string): string {
  return `${directory}/spare-0${TEMPORARY_SUFFIX}`;
}

/** Removes the spares that an earlier process has left in a directory. Throws `FileError`. */
export function removeSpares(fs: FileSystem, directory: string): void {
  for (const name of fs.list(directory)) if (NAME.test(name)) fs.remove(`${directory}/${name}`);
}

export class SpareFiles {
  readonly #env: Pick<Env, "fs" | "background">;
  readonly #directory: string;
  readonly #options: SpareOptions;
  readonly #ready: { readonly path: string; readonly bytes: number }[] = [];
  #making: Promise<void> | undefined;
  #nextName = 1;
  /** For which part's successor a spare could not be made. */
  #failedFor: number | undefined;

  /** What an earlier process has left in the directory has to be removed before: see `removeSpares`. */
  constructor(env: Pick<Env, "fs" | "background">, directory: string, options: SpareOptions) {
    this.#env = env;
    this.#directory = directory;
    this.#options = options;
  }

  get isReady(): boolean {
    return this.#ready.length > 0;
  }

  /** Bytes of all spares. */
  get bytes(): number {
    return this.#ready.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Has a spare made for what comes after the part `part`, if there is none. A log can do without: what goes wrong is
   * left at that until the next part.
   */
  want(part: number): void {
    const { fileBytes: bytes, max } = this.#options;
    if (this.isReady || this.#making !== undefined || this.#failedFor === part || max === 0) return;
    const argument: AllocateArgument = { path: this.#newPath(), bytes };
    this.#making = this.#env.background.run(ALLOCATE_JOB, argument).then(
      () => {
        this.#making = undefined;
        this.#ready.push({ path: argument.path, bytes });
      },
      () => {
        this.#making = undefined;
        this.#failedFor = part;
      },
    );
  }

  /**
   * Takes over the file at `path`, which is `bytes` long, or removes it. What can't be removed is left to the next start:
   * it is not needed, and nothing that is hangs on it.
   */
  offer(path: string, bytes: number): void {
    const count = this.#ready.length + (this.#making === undefined ? 0 : 1);
    const isWanted = count < this.#options.max && bytes * 2 >= this.#options.fileBytes;
    if (!isWanted || !this.#takeOver(path, bytes)) removeQuietly(this.#env.fs, path);
  }

  /**
   * The path of a spare file, which is the caller's to rename now; `undefined` if there is none. The directory has to be
   * synced before the file is written to: only then is the name that it had before surely gone.
   */
  take(): string | undefined {
    return this.#ready.pop()?.path;
  }

  /** Removes the spares: their space is needed. What can't be removed is left to the next start. */
  drop(): void {
    for (let spare = this.#ready.pop(); spare !== undefined; spare = this.#ready.pop())
      removeQuietly(this.#env.fs, spare.path);
  }

  /** Waits for what is being made, and removes the spares. */
  async close(): Promise<void> {
    await this.#making;
    this.drop();
  }

  #takeOver(path: string, bytes: number): boolean {
    const spare = this.#newPath();
    try {
      this.#env.fs.rename(path, spare);
    } catch {
      return false;
    }
    this.#ready.push({ path: spare, bytes });
    return true;
  }

  #newPath(): string {
    return `${this.#directory}/spare-${this.#nextName++}${TEMPORARY_SUFFIX}`;
  }
}
