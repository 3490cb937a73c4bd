import type { Env, FileSystem } from "../env/env.ts";

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

/**
 * The file that the log's next segment will be written into, allocated ahead. Overwriting what is allocated is synced in
 * about half the time of growing a file, since the file system has nothing of its own to write down, and the nodes of one
 * machine do not wait for each other's journal. It is made in the background, or is a segment that is not needed any more.
 */
export class LogSpare {
  readonly #env: Pick<Env, "fs" | "background">;
  readonly #path: string;
  readonly #bytes: number;
  #state: "none" | "making" | "ready" = "none";
  /** For which segment's successor a spare could not be made. */
  #failedFor: number | undefined;

  constructor(env: Pick<Env, "fs" | "background">, directory: string, bytes: number) {
    this.#env = env;
    this.#path = `${directory}/spare`;
    this.#bytes = bytes;
    // What an earlier process left may be half made.
    env.fs.remove(this.#path);
  }

  get isReady(): boolean {
    return this.#state === "ready";
  }

  /**
   * Has a spare made for the segment after `segment`, if there is none. A log can do without: what goes wrong is left at
   * that until the next segment.
   */
  want(segment: number): void {
    if (this.#state !== "none" || this.#failedFor === segment) return;
    this.#state = "making";
    const argument: AllocateArgument = { path: this.#path, bytes: this.#bytes };
    this.#env.background.run(ALLOCATE_JOB, argument).then(
      () => {
        this.#state = "ready";
      },
      () => {
        this.#state = "none";
        this.#failedFor = segment;
      },
    );
  }

  /** Takes over the file at `path`, or removes it. */
  offer(path: string): void {
    if (this.#state === "none") {
      this.#env.fs.rename(path, this.#path);
      this.#state = "ready";
    } else {
      this.#env.fs.remove(path);
    }
  }

  /** The path of the spare file, which is the caller's to rename now; `undefined` if there is none. */
  take(): string | undefined {
    if (this.#state !== "ready") return undefined;
    this.#state = "none";
    return this.#path;
  }
}
