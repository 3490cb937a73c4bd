/**
 * Processes on a file system that is really small, in memory, and theirs alone: short writes and ENOSPC as the kernel gives
 * them. Linux, and only where users may mount something in a name space of their own.
 */
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FileError } from "../../src/env/env.ts";

const CHUNK_BYTES = 64 * 1024;

/** What has to stand before a command for `directory` to be an empty file system of `bytes` to it. It becomes that command. */
export function onSmallDisk(directory: string, bytes: number): string[] {
  const script = `mkdir -p "$0" && mount -t tmpfs -o size=${bytes} none "$0" && exec "$@"`;
  return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, directory];
}

/** Not every machine lets its users mount something, even for themselves alone. */
export function canMount(): boolean {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-mount-"));
  try {
    const command = [...onSmallDisk(directory, CHUNK_BYTES), "true"];
    return Bun.spawnSync(command, { stderr: "ignore" }).exitCode === 0;
  } catch {
    return false;
  } finally {
    rmdirSync(directory);
  }
}

/** A file that takes all the room there is in `directory` as the process `pid` sees it, until it is removed. */
export class Ballast {
  readonly #path: string;

  constructor(pid: number, directory: string) {
    this.#path = join(`/proc/${pid}/root`, directory, "ballast");
  }

  /** Takes what is free. Returns how many bytes that was. */
  fill(): number {
    const file = openSync(this.#path, "a");
    let written = 0;
    for (let size = CHUNK_BYTES; size >= 1; ) {
      try {
        written += writeSync(file, new Uint8Array(size));
      } catch (error) {
        if ((error as FileError).code !== "ENOSPC") throw error;
        size = Math.floor(size / 2);
      }
    }
    closeSync(file);
    return written;
  }

  remove(): void {
    rmSync(this.#path);
  }
}
