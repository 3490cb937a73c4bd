import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { openLsm } from "./lsm.ts";

test("a span that needs nothing is done at once, and compactions go on after it", async () => {
  const fs = new MemoryFileSystem();
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: consoleLog("error") };
  const engine = await openLsm(env, "/d/store", { level0Tables: 2 });
  await engine.compact();
  await engine.compact({ gte: utf8("x"), lt: utf8("a") });
  for (let i = 0; i < 2; i++) {
    const batch = engine.newBatch();
    batch.put(utf8("a"), utf8(`value ${i}`));
    await engine.write(batch);
    await engine.flush();
  }
  await engine.compact({ gte: utf8("a") });
  expect(engine.stats().tablesPerLevel[0]).toBe(0);
  expect(engine.stats().tables).toBe(1);
  await engine.close();
});
