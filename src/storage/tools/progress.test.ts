import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../../test/support/memory-fs.ts";
import { runEngineCommand } from "../../command-line/engine-command.ts";
import type { Clock } from "../../env/env.ts";
import { ProgressLine } from "./progress.ts";
import { DIRECTORY, damage, filesOf, makeStore } from "./test-store.ts";

/** A clock on which each look at it takes some time. */
function slowClock(stepMs: number): Clock & { now: number } {
  const nothing = { cancel: () => {} };
  return {
    now: 1000,
    nowMs() {
      this.now += stepMs;
      return this.now;
    },
    wallMs: () => 0,
    timer: () => nothing,
    endOfTurn: () => {},
  };
}

test("how far it is, how fast, and how long it still takes, at most twice a second", () => {
  const lines: string[] = [];
  const clock = slowClock(0);
  const line = new ProgressLine(clock, (text) => lines.push(text), false);
  line.begin(10 * 1024 * 1024);
  for (let i = 0; i < 8; i++) {
    clock.now += 250;
    line.advance(1024 * 1024);
  }
  line.end();
  expect(lines).toEqual([
    "2.0 MiB of 10.0 MiB, 4.0 MiB/s, about 2 s to go\n",
    "4.0 MiB of 10.0 MiB, 4.0 MiB/s, about 2 s to go\n",
    "6.0 MiB of 10.0 MiB, 4.0 MiB/s, about 1 s to go\n",
    "8.0 MiB of 10.0 MiB, 4.0 MiB/s, about 1 s to go\n",
  ]);
});

test("a terminal's line is overwritten, and cleared in the end; short work says nothing", () => {
  const lines: string[] = [];
  const clock = slowClock(0);
  const line = new ProgressLine(clock, (text) => lines.push(text), true);
  line.begin(100);
  line.advance(50);
  line.end();
  expect(lines).toEqual([]);
  clock.now += 1000;
  line.advance(50);
  line.end();
  expect(lines).toEqual(["100 bytes of 100 bytes, 100 bytes/s, about 0 s to go\x1b[K\r", "\x1b[K"]);
});

test("the commands tell their progress on a terminal, or if asked, and else do not", async () => {
  for (const command of ["verify", "repair"]) {
    for (const [isTerminal, flags] of [
      [true, []],
      [false, ["--progress"]],
      [false, []],
    ] as const) {
      const fs = new MemoryFileSystem();
      await makeStore(fs);
      damage(fs, filesOf(fs, "table")[0]!, 10);
      let err = "";
      const args = [command, DIRECTORY, ...flags];
      const writeError = (text: string): void => {
        err += text;
      };
      const around = {
        name: "engine",
        fs,
        clock: slowClock(600),
        isTerminal,
        writeOut: () => {},
        writeError,
      };
      expect(await runEngineCommand(args, around)).toBe(1);
      if (isTerminal || flags.length > 0) expect(err).toMatch(/KiB of .* KiB, .*\/s, about \d+ s to go/);
      else expect(err).toBe("");
    }
  }
});
