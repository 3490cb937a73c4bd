import pc from "picocolors";
import type { Look } from "./reply.ts";

/** Tables and colors for people, plain lines for programs. */
export function lookOf(output: NodeJS.WriteStream): Look {
  const isTerminal = output.isTTY === true;
  return { tables: isTerminal, colors: isTerminal && pc.isColorSupported };
}

/**
 * Ends the process once all output has been taken, without waiting for connections that a dead host keeps half open.
 * Where the reader of the output is gone (`| head`), at once.
 */
export function endProcess(code: number): void {
  process.stdout.on("error", () => process.exit(code));
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
}
