/** The programs in README.md, run as somebody would who has added this package to a project. */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withCluster } from "../support/cluster.ts";

const ROOT = join(import.meta.dir, "../..");
const [client, embedded, ...others] = [
  ...readFileSync(join(ROOT, "README.md"), "utf8").matchAll(/^```ts\n(.*?)^```$/gms),
].map(([, code]) => code!);

/** What a program prints, in a project of its own. */
async function run(program: string): Promise<string> {
  const project = mkdtempSync(join(tmpdir(), "flotilla-readme-"));
  try {
    mkdirSync(join(project, "node_modules"));
    symlinkSync(ROOT, join(project, "node_modules/flotilla"));
    writeFileSync(join(project, "program.ts"), program);
    const child = Bun.spawn([process.execPath, "program.ts"], {
      cwd: project,
      stdout: "pipe",
      stderr: "pipe",
      timeout: 15_000,
    });
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect({ errors, code: await child.exited }).toEqual({ errors: "", code: 0 });
    return output;
  } finally {
    rmSync(project, { recursive: true });
  }
}

test("the client's program", async () => {
  await withCluster({}, async (cluster) => {
    const addresses = JSON.stringify(cluster.addresses());
    const program = client!.replace(/addresses: \[[^\]]*\]/, `addresses: ${addresses}`);
    expect(program).toContain(addresses);
    expect(await run(program)).toBe("user:1 Ada Lovelace\n");
  });
});

test("the embedded store's program", async () => {
  expect(await run(embedded!)).toMatch(/^k\/2 1\nk 1\nk\nk\/2\nsession\/1\n\d\.\d+\n$/);
});

test("there is no program in it that is not run here", () => {
  expect(others).toEqual([]);
});
