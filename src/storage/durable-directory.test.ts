import { expect, test } from "bun:test";
import { FileError } from "../env/env.ts";
import { makeDurableDirectory } from "./durable-directory.ts";

function recording(there: Set<string>) {
  const calls: string[] = [];
  const fs = {
    exists: (path: string) => there.has(path),
    makeDirectory: (path: string) => {
      there.add(path);
      calls.push(`make ${path}`);
    },
    syncDirectorySync: (path: string) => void calls.push(`sync ${path}`),
  };
  return { fs, calls };
}

test("every directory that was not there is synced into its parent before the next is made in it", () => {
  const { fs, calls } = recording(new Set(["/", "/data"]));
  makeDurableDirectory(fs, "/data/a/b");
  expect(calls).toEqual(["sync /", "make /data/a", "sync /data", "make /data/a/b", "sync /data/a"]);
});

test("one that is there may have been made just before a crash: it is synced into its parent as well", () => {
  const { fs, calls } = recording(new Set(["/", "/data"]));
  makeDurableDirectory(fs, "/data");
  makeDurableDirectory(fs, "/");
  expect(calls).toEqual(["sync /"]);
});

test("where the parent of one that is there must not be read, whoever made it has seen to that", () => {
  const { fs, calls } = recording(new Set(["/", "/data", "/data/a"]));
  const denied = (code: string) => ({
    ...fs,
    syncDirectorySync: (path: string) => {
      if (path === "/data") throw new FileError(code, `cannot open ${path}`);
      calls.push(`sync ${path}`);
    },
  });
  makeDurableDirectory(denied("EACCES"), "/data/a/b");
  expect(calls).toEqual(["make /data/a/b", "sync /data/a"]);
  expect(() => makeDurableDirectory(denied("EIO"), "/data/a")).toThrow("cannot open /data");
});
