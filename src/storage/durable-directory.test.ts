import { expect, test } from "bun:test";
import { makeDurableDirectory } from "./durable-directory.ts";

test("every directory that was not there is synced into its parent before the next is made in it", () => {
  const there = new Set(["/", "/data"]);
  const calls: string[] = [];
  const fs = {
    exists: (path: string) => there.has(path),
    makeDirectory: (path: string) => {
      there.add(path);
      calls.push(`make ${path}`);
    },
    syncDirectorySync: (path: string) => void calls.push(`sync ${path}`),
  };
  makeDurableDirectory(fs, "/data/a/b");
  expect(calls).toEqual(["make /data/a", "sync /data", "make /data/a/b", "sync /data/a"]);
  makeDurableDirectory(fs, "/data/a/b");
  expect(calls).toHaveLength(4);
});
