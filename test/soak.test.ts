/** A small soak: what `bun run soak` does for as long as one likes. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testSeed } from "./support/seed.ts";
import { SOAK_ENGINE, Soak } from "./support/soak.ts";

const directory = mkdtempSync(join(tmpdir(), "flotilla-soak-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const OPERATIONS = 60_000;

test("tens of thousands of operations, with snapshots and iterators held while tables are merged", async () => {
  const small = { memtableBytes: 128 * 1024, tableBytes: 64 * 1024, level1Bytes: 256 * 1024 };
  const soak = new Soak({
    ...{ directory: join(directory, "store"), seed: testSeed("soak"), keys: 3000 },
    ...{ engine: { ...SOAK_ENGINE, ...small, walFileBytes: 100_000 }, reopenEvery: OPERATIONS / 3 },
  });
  await soak.open();
  while (soak.operations < OPERATIONS && soak.fatal === undefined) await soak.round();
  expect(soak.fatal).toBeUndefined();
  soak.checkAll();
  await soak.close();
  expect(soak.compactions).toBeGreaterThan(5);
  expect(soak.liveKeys).toBeGreaterThan(500);
}, 60_000);
