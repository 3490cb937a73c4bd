/** A store that can't be opened says why, and what to do: on a real disk, with what a user sees. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "../lib/bytes.ts";
import { xxh64 } from "../lib/hash.ts";
import { writeBigU64 } from "./fixed-width.ts";
import { open } from "./open.ts";

const root = mkdtempSync(join(tmpdir(), "flotilla-refusals-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

/** A closed store with a table and a log. */
async function makeStore(): Promise<string> {
  const directory = join(root, String(++count));
  const store = await open(directory);
  await store.put(utf8("a"), utf8("1"));
  await store.flush();
  await store.put(utf8("b"), utf8("2"));
  await store.close();
  return directory;
}

function pathOf(directory: string, ending: string): string {
  return join(directory, readdirSync(directory).find((name) => name.endsWith(ending))!);
}

async function refusal(directory: string): Promise<{ code: string; message: string }> {
  return open(directory).then(
    async (store) => {
      await store.close();
      return { code: "opened", message: "" };
    },
    (error: { code: string; message: string }) => error,
  );
}

function change(path: string, edit: (bytes: Uint8Array) => void): void {
  const bytes = new Uint8Array(readFileSync(path));
  edit(bytes);
  writeFileSync(path, bytes);
}

test.each([
  ["CURRENT", 3, /CURRENT: damaged at offset 0: ".*" is not the name of a manifest with its checksum/],
  [".manifest", 60, /\d{6}\.manifest: damaged at offset 40: a record/],
  [".wal", 60, /\d{6}\.wal: damaged at offset 40: a record/],
  [".table", -20, /\d{6}\.table: damaged at offset \d+: the footer's checksum is wrong/],
] as const)("damage of %s is told with file, offset and what to do", async (ending, offset, expected) => {
  const directory = await makeStore();
  const path = pathOf(directory, ending);
  change(path, (bytes) => {
    bytes[offset < 0 ? bytes.length + offset : offset]! ^= 1;
  });
  const { code, message } = await refusal(directory);
  expect(code).toBe("CORRUPT");
  expect(message).toMatch(expected);
  expect(message).toContain(`\`bun run engine verify ${directory}\` tells all that is damaged`);
  expect(message).toContain(`\`bun run engine repair ${directory}\` what can be saved`);
});

test.each([
  ["CURRENT", /CURRENT: damaged at offset 0: the file is missing, but there are tables or logs/],
  [".manifest", /CURRENT: damaged at offset 0: it names \d{6}\.manifest, which is not there/],
  [".table", /: damaged at offset 0: table \d+ is missing/],
] as const)("a missing %s is told", async (ending, expected) => {
  const directory = await makeStore();
  rmSync(pathOf(directory, ending));
  const { code, message } = await refusal(directory);
  expect(code).toBe("CORRUPT");
  expect(message).toMatch(expected);
});

test.each([
  [".manifest", 8, 32],
  [".wal", 8, 32],
  [".table", -20, -16],
] as const)(
  "a %s of a newer format is told, and is not called damaged",
  async (ending, versionAt, checksumAt) => {
    const directory = await makeStore();
    const path = pathOf(directory, ending);
    change(path, (bytes) => {
      const at = (offset: number): number => (offset < 0 ? bytes.length + offset : offset);
      bytes[at(versionAt)] = 99;
      const start = ending === ".table" ? bytes.length - 64 : 0;
      writeBigU64(bytes, at(checksumAt), xxh64(bytes.subarray(start, at(checksumAt))));
    });
    const { code, message } = await refusal(directory);
    expect(code).toBe("NEWER");
    expect(message).toMatch(
      /\d{6}\.\w+: format version 99 was written by a newer version of this program, which reads up to version \d+$/,
    );
    // An older program must not repair it either.
    const child = Bun.spawnSync([
      process.execPath,
      new URL("../engine-main.ts", import.meta.url).pathname,
      "repair",
      directory,
      "--yes",
    ]);
    expect(child.exitCode).toBe(2);
    expect(child.stderr.toString()).toContain("was written by a newer version");
  },
);

test("a store that is open says in which process", async () => {
  const directory = await makeStore();
  const store = await open(directory);
  const { code, message } = await refusal(directory);
  expect(code).toBe("LOCKED");
  const holder = process.platform === "linux" ? ` (process id ${process.pid})` : "";
  expect(message).toBe(`another process has the store in ${directory} open${holder}`);
  await store.close();
});
