import { expect, test } from "bun:test";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("../support/idle-groups.ts", import.meta.url));
const NODES = 3;
/** It is 6.3: this leaves room for what a group may come to have, and none for a buffer of its own. */
const KIB_PER_GROUP_MAX = 9;

/** What three nodes with so many shards hold, in bytes. A process of its own: other tests leave things behind. */
async function held(shards: number): Promise<number> {
  const child = Bun.spawn([process.execPath, SCRIPT, String(shards)], { stdout: "pipe", stderr: "pipe" });
  const [output, complaints] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(await child.exited, complaints).toBe(0);
  return Number(output);
}

test("a group in which nothing happens holds little memory", async () => {
  const few = await held(64);
  const many = await held(512);
  const kibPerGroup = (many - few) / (512 - 64) / NODES / 1024;
  expect(kibPerGroup).toBeGreaterThan(1);
  expect(kibPerGroup).toBeLessThan(KIB_PER_GROUP_MAX);
}, 60_000);
