/** Iterators that seek. The oracle's test has the rest. */
import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import type { DurableEngine, EngineIterator } from "./engine.ts";
import { openLsm } from "./lsm.ts";

/** Keys `a` to `f`, of which `flushed` are in a table and the others in the memtable. */
async function storeOf(flushed: string): Promise<DurableEngine> {
  const fs = new MemoryFileSystem();
  const env = { fs, background: inlineBackground(fs), clock: systemClock(), log: consoleLog("error") };
  const engine = await openLsm(env, "/d");
  for (const inTable of [true, false]) {
    const batch = engine.newBatch();
    for (const key of "abcdef") {
      if (flushed.includes(key) === inTable) batch.put(utf8(key), utf8(key.toUpperCase()));
    }
    await engine.write(batch);
    if (inTable) await engine.flush();
  }
  return engine;
}

/** The keys from where it is to its end. */
function rest(iterator: EngineIterator): string {
  let found = "";
  while (iterator.next()) found += fromUtf8(iterator.key);
  return found;
}

function from(iterator: EngineIterator, key: string): string {
  iterator.seek(utf8(key));
  return rest(iterator);
}

test("an iterator that seeks goes anywhere in its range, also from behind its end", async () => {
  for (const flushed of ["", "ace", "abcdef"]) {
    const engine = await storeOf(flushed);
    using up = engine.iterate({ gt: utf8("a"), lt: utf8("f") });
    expect(["c", "bb", "e", "", "a", "zz", "f", "b"].map((key) => from(up, key))).toEqual([
      "cde",
      "cde",
      "e",
      "bcde",
      "bcde",
      "",
      "",
      "bcde",
    ]);
    using down = engine.iterate({ gt: utf8("a"), lte: utf8("e"), reverse: true });
    expect(["c", "bb", "b", "a", "", "zz", "e", "f"].map((key) => from(down, key))).toEqual([
      "cb",
      "b",
      "b",
      "",
      "",
      "edcb",
      "edcb",
      "edcb",
    ]);
    await engine.close();
  }
});

test("a limit counts anew from where it seeks", async () => {
  const engine = await storeOf("ace");
  using iterator = engine.iterate({ limit: 2 });
  iterator.next();
  expect(from(iterator, "d")).toBe("de");
  expect(from(iterator, "b")).toBe("bc");
  await engine.close();
});

test("it reads what the store was when it was made", async () => {
  const engine = await storeOf("ace");
  using iterator = engine.iterate({});
  const batch = engine.newBatch();
  batch.put(utf8("bb"), utf8("new"));
  batch.delete(utf8("c"));
  await engine.write(batch);
  await engine.flush();
  expect(from(iterator, "b")).toBe("bcdef");
  expect(fromUtf8(engine.getSync(utf8("bb"))!)).toBe("new");
  await engine.close();
});

test("what it knew of deleted ranges is forgotten when it goes back", async () => {
  for (const reverse of [false, true]) {
    const engine = await storeOf("abcdef");
    const batch = engine.newBatch();
    batch.deleteRange(utf8("b"), utf8("d"));
    batch.deleteRange(utf8("e"), utf8("f"));
    await engine.write(batch);
    using iterator = engine.iterate({ reverse });
    expect(from(iterator, reverse ? "a" : "f")).toBe(reverse ? "a" : "f");
    expect(from(iterator, reverse ? "e" : "b")).toBe(reverse ? "da" : "df");
    expect(from(iterator, "d")).toBe(reverse ? "da" : "df");
    await engine.close();
  }
});

test("a closed iterator can't seek: one that never did is closed by its end", async () => {
  const engine = await storeOf("ace");
  const ended = engine.iterate({});
  rest(ended);
  const closed = engine.iterate({});
  closed.seek(utf8("b"));
  closed.close();
  for (const iterator of [ended, closed]) {
    expect(() => iterator.seek(utf8("a"))).toThrow("an iterator that is closed can't seek");
    expect(iterator.next()).toBe(false);
  }
  using open = engine.iterate({});
  expect(() => open.seek("a" as unknown as Uint8Array)).toThrow(TypeError);
  expect(rest(open)).toBe("abcdef");
  await engine.close();
});
