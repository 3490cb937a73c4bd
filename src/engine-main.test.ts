/** The commands as their users run them: processes, with their output and exit codes. */
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8, utf8 } from "./lib/bytes.ts";
import { open } from "./storage/open.ts";

const MAIN = new URL("./engine-main.ts", import.meta.url).pathname;
const root = mkdtempSync(join(tmpdir(), "flotilla-engine-command-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function run(...args: string[]): { code: number; out: string; err: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, MAIN, ...args]);
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
}

test("a store is damaged, verified, dumped, repaired and opened again", async () => {
  const directory = join(root, "a");
  let store = await open(directory, { blockBytes: 500 });
  for (let n = 0; n < 1000; n++) await store.put(utf8(`key${n}`), utf8(`value ${n}`), { sync: false });
  await store.flush();
  await store.put(utf8("in the log"), utf8("yes"));

  const holder = process.platform === "linux" ? ` (process id ${process.pid})` : "";
  for (const command of ["verify", "repair"])
    expect(run(command, directory)).toEqual({
      code: 2,
      out: "",
      err: `error: another process has the store in ${directory} open${holder}\n`,
    });
  await store.close();

  const whole = run("verify", directory);
  expect(whole).toMatchObject({ code: 0, err: "" });
  expect(whole.out).toMatch(/^no problems: 1 table with 1000 entries, 1 log file with \d+ records?\n$/);

  const name = readdirSync(directory).find((each) => each.endsWith(".table"))!;
  const path = join(directory, name);
  const bytes = readFileSync(path);
  bytes[5000]! ^= 1;
  writeFileSync(path, bytes);
  await expect(
    open(directory).then(async (opened) => {
      try {
        let entries = 0;
        for (const _entry of opened.scanSync()) entries++;
        return entries;
      } finally {
        await opened.close();
      }
    }),
  ).rejects.toMatchObject({ code: "CORRUPT" });

  const damaged = run("verify", directory);
  expect(damaged.code).toBe(1);
  expect(damaged.out).toMatch(
    new RegExp(`^${path}: offset \\d+: a data block is damaged: .*keys above "key`),
  );
  expect(damaged.out).toContain(`bun run engine repair ${directory}`);
  expect(run("verify", directory, "--json").out).toStartWith('{"problems":[{');

  const dumped = run("dump", path);
  expect(dumped.code).toBe(1);
  expect(dumped.out).toContain('"key0" @1 put "value 0"');
  expect(dumped.out).toContain("DAMAGED at");
  expect(dumped.out).toContain('put "value 999"');
  expect(run("dump", path, "--limit", "2", "--keys-only").out).toMatch(
    /"key0" @1 put\n.*and \d+ more entries\n$/s,
  );

  const plan = run("repair", directory);
  expect(plan.code).toBe(1);
  expect(plan.out).toMatch(/entries of 1000 are written to a new table/);
  expect(existsSync(join(directory, "lost"))).toBe(false);
  expect(run("repair", directory, "--yes", "--dry-run").code).toBe(1);
  expect(existsSync(join(directory, "lost"))).toBe(false);
  const done = run("repair", directory, "--yes");
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain("no problems");
  expect(readFileSync(join(directory, "lost/1", name)).equals(bytes)).toBe(true);

  store = await open(directory);
  let count = 0;
  for (const [key, value] of store.scanSync({ prefix: utf8("key") })) {
    expect(fromUtf8(value)).toBe(`value ${fromUtf8(key).slice(3)}`);
    count++;
  }
  expect(count).toBeGreaterThan(950);
  expect(count).toBeLessThan(1000);
  expect(fromUtf8(store.getSync(utf8("in the log"))!)).toBe("yes");
  await store.close();
}, 60_000);

test("help is printed, and a reader that goes away ends the command quietly", async () => {
  expect(run("--help")).toMatchObject({
    code: 0,
    out: expect.stringContaining("verify [options] <directory>"),
  });
  expect(run("verify")).toMatchObject({ code: 2, err: expect.stringContaining("missing required argument") });
  const directory = join(root, "b");
  const store = await open(directory);
  const batch = store.batch();
  for (let n = 0; n < 20_000; n++) batch.put(utf8(`key${n}`), utf8(`value ${n}`));
  await store.write(batch);
  await store.flush();
  await store.close();
  const table = readdirSync(directory).find((name) => name.endsWith(".table"))!;
  const child = Bun.spawn(
    ["sh", "-c", `"$0" "$1" dump "$2" | head -n 1; wait`, process.execPath, MAIN, join(directory, table)],
    {
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  expect(await new Response(child.stdout).text()).toStartWith("footer at");
  expect(await new Response(child.stderr).text()).toBe("");
}, 60_000);
