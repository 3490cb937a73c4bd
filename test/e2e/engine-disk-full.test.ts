/** A store on a file system that is really full: short writes and ENOSPC as the kernel gives them. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { canMount, onSmallDisk } from "../support/small-disk.ts";

const WRITER = fileURLToPath(new URL("../support/full-disk-writer.ts", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "flotilla-full-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const DISK_BYTES = 3 * 1024 * 1024;

test.skipIf(!canMount())(
  "a store fills its disk, refuses, and goes on when there is room; nothing is lost",
  async () => {
    const child = Bun.spawn([...onSmallDisk(directory, DISK_BYTES), process.execPath, WRITER, directory], {
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
