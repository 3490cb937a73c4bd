import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { orderedSyncs } from "./ordered-syncs.ts";

/** A disk whose syncs of directories end when they are told to; `ends` are those under way. */
function slowDisk(): { fs: MemoryFileSystem; ends: ((error?: Error) => void)[] } {
  const fs = new MemoryFileSystem();
  const ends: ((error?: Error) => void)[] = [];
  fs.syncDirectory = () =>
    new Promise((resolve, reject) => ends.push((error) => (error === undefined ? resolve() : reject(error))));
  return { fs, ends };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const outcome = (sync: Promise<void>): Promise<string> =>
  sync.then(
    () => "done",
    (error: Error) => error.message,
  );

test("syncs of the directory run one at a time, and those that come meanwhile share the next one", async () => {
  const { fs, ends } = slowDisk();
  const ordered = orderedSyncs(fs, "/d");
  const first = outcome(ordered.syncDirectory("/d"));
  const others = [outcome(ordered.syncDirectory("/d")), outcome(ordered.syncDirectory("/d"))];
  await turn();
  expect(ends.length).toBe(1);
  // Another directory does not wait.
  const elsewhere = outcome(ordered.syncDirectory("/e"));
  expect(ends.length).toBe(2);
  ends[1]!();
  expect(await elsewhere).toBe("done");
  ends[0]!();
  expect(await first).toBe("done");
  await turn();
  expect(ends.length).toBe(3);
  // One that comes while the shared one runs waits for yet another.
  const late = outcome(ordered.syncDirectory("/d"));
  ends[2]!();
  expect(await Promise.all(others)).toEqual(["done", "done"]);
  await turn();
  ends[3]!();
  expect(await late).toBe("done");
  const again = outcome(ordered.syncDirectory("/d"));
  ends[4]!();
  expect(await again).toBe("done");
});

test("whoever asks during a sync that fails, or after it, is told", async () => {
  const { fs, ends } = slowDisk();
  const ordered = orderedSyncs(fs, "/d");
  const first = outcome(ordered.syncDirectory("/d"));
  const during = outcome(ordered.syncDirectory("/d"));
  ends[0]!(new Error("EIO"));
  expect(await Promise.all([first, during])).toEqual(["EIO", "EIO"]);
  expect(await outcome(ordered.syncDirectory("/d"))).toBe("EIO");
  expect(() => ordered.syncDirectorySync("/d")).toThrow("EIO");
  expect(ends.length).toBe(1);
  ordered.syncDirectorySync("/e");
});

test("one that is asked for as soon as another ends does not run beside those that waited for that", async () => {
  const { fs, ends } = slowDisk();
  const ordered = orderedSyncs(fs, "/d");
  const done: string[] = [];
  const again = ordered.syncDirectory("/d").then(() => ordered.syncDirectory("/d"));
  const waiting = ordered.syncDirectory("/d").then(() => done.push("waiting"));
  ends[0]!();
  await turn();
  expect(ends.length).toBe(2);
  ends[1]!();
  await turn();
  await Promise.all([again, waiting]);
  expect(done).toEqual(["waiting"]);
});
