import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FLUSH_JOB } from "../storage/background-jobs.ts";
import { Memtable } from "../storage/memtable.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "../storage/write-batch.ts";
import { bunBackground } from "./bun-background.ts";
import { FileError } from "./env.ts";

function flushArgument(directory: string) {
  const batch = new EncodedBatch();
  batch.put(Buffer.from("key"), Buffer.from("value"));
  const memtable = new Memtable(100);
  memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, batch.count, 1);
  const table = {
    blockBytes: 4096,
    restartInterval: 16,
    bloomBitsPerKey: 10,
    partitionBytes: 200,
    compression: "none",
  } as const;
  return { directory, fileNumber: 1, memtable: memtable.share(), snapshots: [], table };
}

test("a job runs in the worker, on memory that is shared with it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-background-"));
  const background = bunBackground();
  try {
    const result = await background.run(FLUSH_JOB, flushArgument(directory));
    expect(result).toMatchObject({ number: 1, entries: 1, largestSequence: 1 });
    const failure = await background.run(FLUSH_JOB, flushArgument(directory)).catch((error: Error) => error);
    expect(failure).toBeInstanceOf(FileError);
    expect(failure).toMatchObject({ code: "EEXIST" });
  } finally {
    await background.close();
    rmSync(directory, { recursive: true });
  }
});

test("an unknown job is an error, and so is a job after close", async () => {
  const background = bunBackground();
  await expect(background.run("nonsense", 1)).rejects.toThrow("there is no job nonsense");
  await background.close();
  await expect(background.run("nonsense", 1)).rejects.toThrow("is closed");
});

test("closing waits for what runs; one that never started closes at once", async () => {
  await bunBackground().close();
  const background = bunBackground();
  const job = background.run("nonsense", 1).catch(() => "done");
  await background.close();
  expect(await job).toBe("done");
});

test("an idle worker does not keep the process alive, a running job does", async () => {
  const script = `
    const { bunBackground } = await import(${JSON.stringify(new URL("./bun-background.ts", import.meta.url).href)});
    bunBackground().run("nonsense", 1).catch(() => console.log("done"));
  `;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
  expect(await new Response(child.stdout).text()).toBe("done\n");
  expect(await child.exited).toBe(0);
});
