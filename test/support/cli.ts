import { fileURLToPath } from "node:url";

/** The file of the one-shot tool. */
export const CLI = fileURLToPath(new URL("../../src/cli/cli-main.ts", import.meta.url));

export interface Ran {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** One command, as a shell would run it, that may ask any of the nodes at `addresses`. */
export async function cli(addresses: readonly string[], ...args: string[]): Promise<Ran> {
  const child = Bun.spawn([process.execPath, CLI, "--addr", addresses.join(","), ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 20_000,
  });
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, output, errors };
}
