import pc from "picocolors";
import type { Look } from "./reply.ts";

/** Tables and colors for people, plain lines for programs. */
export function lookOf(output: NodeJS.WriteStream): Look {
  const isTerminal = output.isTTY === true;
  return { tables: isTerminal, colors: isTerminal && pc.isColorSupported };
}
