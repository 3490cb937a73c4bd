import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { FileError, type Log } from "../env/env.ts";
import { FileRemovals } from "./file-removals.ts";

test("files go in the background, one after the other, and one that stays is told of", async () => {
  const fs = new MemoryFileSystem();
  for (const name of ["a", "b", "c", "d"]) fs.writeFile(`/d/${name}`, new Uint8Array(10));
  const warnings: unknown[] = [];
  const log: Log = { debug() {}, info() {}, warn: (_message, fields) => warnings.push(fields), error() {} };
  let pauses = 0;
  const removals = new FileRemovals(
    inlineBackground(fs, async () => void pauses++),
    log,
  );
  removals.remove("/d/a");
  removals.remove("/d/b");
  expect(fs.list("/d")).toEqual(["a", "b", "c", "d"]);
  await removals.settled();
  expect(fs.list("/d")).toEqual(["c", "d"]);
  expect(pauses).toBe(3);
  fs.onOperation = (operation, path) => {
    if (operation === "remove" && path === "/d/c") throw new FileError("EIO", "it is broken");
  };
  removals.remove("/d/c");
  await removals.settled();
  removals.remove("/d/d");
  await removals.settled();
  expect(fs.list("/d")).toEqual(["c"]);
  expect(warnings).toEqual([{ files: 1, error: "it is broken" }]);
  await removals.settled();
});
