import { afterAll, expect, test } from "bun:test";
import * as nodeFs from "node:fs";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bunFileSystem, type ShortCalls } from "./bun-fs.ts";
import { FileError } from "./env.ts";

const directory = mkdtempSync(join(tmpdir(), "flotilla-fs-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const fs = bunFileSystem();
const path = (name: string): string => join(directory, name);

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof FileError) return error.code;
    throw error;
  }
  return "nothing thrown";
}

test("files are created, written, read, cut, renamed and removed", async () => {
  const handle = fs.open(path("a"), "create");
  handle.write(Buffer.from("..hello.."), 2, 7, 0);
  handle.write(Buffer.from("!"), 0, 1, 7);
  await handle.sync();
  handle.syncNow();
  expect(handle.size()).toBe(8);
  const target = Buffer.alloc(12, "-");
  expect(handle.read(target, 1, 10, 0)).toBe(8);
  expect(target.toString("latin1")).toBe("-hello\0\0!---");
  expect(handle.read(target, 0, 5, 100)).toBe(0);
  handle.truncate(3);
  expect(handle.size()).toBe(3);
  handle.close();
  handle.close();
  fs.rename(path("a"), path("b"));
  await fs.syncDirectory(directory);
  fs.syncDirectorySync(directory);
  expect([fs.exists(path("a")), fs.exists(path("b"))]).toEqual([false, true]);
  fs.makeDirectory(path("x/y"));
  expect(fs.list(directory)).toEqual(["b", "x"]);
  expect(fs.list(path("nowhere"))).toEqual([]);
  fs.remove(path("b"));
  fs.remove(path("b"));
  expect(fs.exists(path("b"))).toBe(false);
});

test("a link is a second name of the same file, and never replaces one", () => {
  const handle = fs.open(path("one"), "create");
  fs.link(path("one"), path("two"));
  handle.write(Buffer.from("x"), 0, 1, 0);
  handle.close();
  fs.remove(path("one"));
  const second = fs.open(path("two"), "read");
  expect(second.size()).toBe(1);
  second.close();
  fs.open(path("three"), "create").close();
  expect(codeOf(() => fs.link(path("two"), path("three")))).toBe("EEXIST");
  expect(codeOf(() => fs.link(path("none"), path("four")))).toBe("ENOENT");
  expect(fs.exists(path("four"))).toBe(false);
});

test("directories are renamed to a free name with all that is in them, and removed when they are empty", () => {
  fs.makeDirectory(path("d.tmp"));
  fs.open(path("d.tmp/file"), "create").close();
  fs.rename(path("d.tmp"), path("d"));
  expect([fs.exists(path("d.tmp")), fs.list(path("d"))]).toEqual([false, ["file"]]);
  expect(codeOf(() => fs.removeDirectory(path("d")))).toBe("ENOTEMPTY");
  fs.makeDirectory(path("d.tmp"));
  expect(codeOf(() => fs.rename(path("d.tmp"), path("d")))).toBe("ENOTEMPTY");
  fs.removeDirectory(path("d.tmp"));
  fs.remove(path("d/file"));
  fs.removeDirectory(path("d"));
  expect(fs.exists(path("d"))).toBe(false);
  expect(codeOf(() => fs.removeDirectory(path("d")))).toBe("ENOENT");
});

test("errors carry the errno's name and the path", () => {
  fs.open(path("there"), "create").close();
  expect(codeOf(() => fs.open(path("there"), "create"))).toBe("EEXIST");
  expect(codeOf(() => fs.open(path("missing"), "read"))).toBe("ENOENT");
  expect(codeOf(() => fs.open(path("missing"), "write"))).toBe("ENOENT");
  const handle = fs.open(path("there"), "read");
  expect(codeOf(() => handle.write(Buffer.from("x"), 0, 1, 0))).toBe("EBADF");
  handle.close();
  expect(() => fs.open(path("missing"), "read")).toThrow(`cannot open ${path("missing")}`);
});

/** A file system whose reads and writes do at most `most` bytes at a time, and fail with `code` after `calls` of them. */
function shortened(most: number, calls = Number.POSITIVE_INFINITY, code = "EIO") {
  let left = calls;
  const cut = (length: number): number => {
    if (left-- <= 0) throw Object.assign(new Error("cut short"), { code });
    return Math.min(length, most);
  };
  const readSync = (
    fd: number,
    target: NodeJS.ArrayBufferView,
    at: number,
    length: number,
    position: number,
  ) => nodeFs.readSync(fd, target, at, cut(length), position);
  const writeSync = (
    fd: number,
    bytes: NodeJS.ArrayBufferView,
    at: number,
    length: number,
    position: number,
  ) => nodeFs.writeSync(fd, bytes, at, cut(length), position);
  return bunFileSystem({ readSync, writeSync } as unknown as ShortCalls);
}

test("short writes and reads are continued where they ended", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 251);
  for (const most of [1, 7, 999, 1000]) {
    const handle = shortened(most).open(path(`short${most}`), "create");
    handle.write(bytes, 100, 900, 50);
    expect(handle.size()).toBe(850);
    const target = new Uint8Array(1000);
    expect(handle.read(target, 10, 990, 50)).toBe(800);
    expect([...target.subarray(10, 810)]).toEqual([...bytes.subarray(100, 900)]);
    handle.close();
  }
});

test("what fails after a short write says so, and nothing is written behind it", () => {
  const bytes = new Uint8Array(100).fill(1);
  const handle = shortened(10, 3, "ENOSPC").open(path("cut"), "create");
  expect(codeOf(() => handle.write(bytes, 0, 100, 0))).toBe("ENOSPC");
  expect(handle.size()).toBe(30);
  handle.close();
  const stuck = shortened(0).open(path("stuck"), "create");
  // A call that writes nothing, again and again, is an error and no endless loop; one that reads nothing is the end.
  expect(codeOf(() => stuck.write(bytes, 0, 100, 0))).toBe("EIO");
  expect(stuck.read(new Uint8Array(5), 0, 5, 0)).toBe(0);
  stuck.close();
});

test("a full disk is ENOSPC", () => {
  // The device that is always full; where there is none, there is nothing to see.
  if (!fs.exists("/dev/full")) return;
  const handle = fs.open("/dev/full", "write");
  expect(codeOf(() => handle.write(Buffer.alloc(10), 0, 10, 0))).toBe("ENOSPC");
  handle.close();
});

test("a lock is held once, and given back", () => {
  const lock = fs.lock(path("LOCK"));
  expect(lock).toBeDefined();
  expect(fs.lock(path("LOCK"))).toBeUndefined();
  // A lock takes no space, so that a full disk does not keep a node from saying that it is full.
  expect(statSync(path("LOCK")).size).toBe(0);
  expect(existsSync(`${path("LOCK")}-journal`)).toBe(false);
  lock!.release();
  const again = fs.lock(path("LOCK"));
  expect(again).toBeDefined();
  again!.release();
});

test("another process respects the lock, and its death by SIGKILL gives it back", async () => {
  const script = `
    const { bunFileSystem } = await import(${JSON.stringify(new URL("./bun-fs.ts", import.meta.url).href)});
    const lock = bunFileSystem().lock(process.argv[1]);
    console.log(lock === undefined ? "refused" : "locked");
    if (lock !== undefined) setInterval(() => lock.release, 1000);
  `;
  const start = () => Bun.spawn([process.execPath, "-e", script, path("LOCK")], { stdout: "pipe" });
  const firstLine = async (child: ReturnType<typeof start>): Promise<string> => {
    for await (const chunk of child.stdout) return Buffer.from(chunk).toString().trim();
    return "";
  };
  const holder = start();
  expect(await firstLine(holder)).toBe("locked");
  expect(fs.lock(path("LOCK"))).toBeUndefined();
  expect(await firstLine(start())).toBe("refused");
  // Linux tells who it is.
  expect(fs.lockHolder(path("LOCK"))).toBe(process.platform === "linux" ? holder.pid : undefined);
  holder.kill("SIGKILL");
  await holder.exited;
  const lock = fs.lock(path("LOCK"));
  expect(lock).toBeDefined();
  lock!.release();
  expect(fs.lockHolder(path("LOCK"))).toBeUndefined();
  expect(fs.lockHolder(path("not there"))).toBeUndefined();
});
