#!/usr/bin/env bun
/**
 * `bun run engine`, and `bun run flotilla-engine` in a project that has added this package: the entry of the engine's commands,
 * with the real world around them.
 */
import { writeSync } from "node:fs";
import { runEngineCommand } from "./command-line/engine-command.ts";
import { bunFileSystem } from "./env/bun-fs.ts";
import { systemClock } from "./env/system-clock.ts";

/** Output is gathered to this many characters. */
const GATHERED = 64 * 1024;

let gathered = "";

const exitCode = await runEngineCommand(process.argv.slice(2), {
  // Bun tells a script of package.json by which name it was run; what a package brings has none.
  name: process.env.npm_lifecycle_event === "engine" ? "bun run engine" : "bun run flotilla-engine",
  fs: bunFileSystem(),
  clock: systemClock(),
  isTerminal: process.stderr.isTTY === true,
  writeOut: (text) => {
    gathered += text;
    if (gathered.length > GATHERED) flush();
  },
  writeError: (text) => {
    flush();
    write(2, text);
  },
});
flush();
process.exit(exitCode);

function flush(): void {
  write(1, gathered);
  gathered = "";
}

/** All of it, also to a pipe that takes it in parts; whoever has closed it wants no more. */
function write(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(descriptor, bytes, at);
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") process.exit(0);
    }
  }
}
