/** A store on a file system that is really full: short writes and ENOSPC as the kernel gives them. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const WRITER = fileURLToPath(new URL("../support/full-disk-writer.ts", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "flotilla-full-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a command in a name space of its own, in which `directory` is a file system of 3 MiB in memory. */
function onSmallDisk(command: readonly string[]): string[] {
  const script = 'mount -t tmpfs -o size=3m none "$0" && exec "$@"';
  return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, directory, ...command];
}

/** Not every machine lets its users mount something, even for themselves alone. */
function canMount(): boolean {
  try {
    return Bun.spawnSync(onSmallDisk(["true"]), { stderr: "ignore" }).exitCode === 0;
  } catch {
    return false;
  }
}

test.skipIf(!canMount())(
  "a store fills its disk, refuses, and goes on when there is room; nothing is lost",
  async () => {
    const child = Bun.spawn(onSmallDisk([process.execPath, WRITER, directory]), {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [output, errors] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect([await child.exited, errors]).toEqual([0, expect.any(String)]);
    console.log(output.trim());
    expect(output).toMatch(/^full after \d+ batches, [1-9]\d* refused, \d+ keys\n$/);
  },
  60_000,
);
