import { expect, test } from "bun:test";
import { consoleLog } from "./console-log.ts";
import type { LogLevel } from "./env.ts";

function logged(level: LogLevel, use: (log: ReturnType<typeof consoleLog>) => void): string[] {
  const lines: string[] = [];
  use(
    consoleLog(level, (line) => lines.push(line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, "@ "))),
  );
  return lines;
}

test("one line an event: time, level, message, fields", () => {
  expect(
    logged("info", (log) =>
      log.warn("cannot reach a peer", { peer: "n2", attempts: 3, since: undefined, why: "no route" }),
    ),
  ).toEqual(['@ warn cannot reach a peer peer=n2 attempts=3 why="no route"\n']);
});

test("lines below the level are not written", () => {
  const all = (log: ReturnType<typeof consoleLog>): void => {
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
  };
  expect(logged("debug", all)).toHaveLength(4);
  expect(logged("info", all)).toEqual(["@ info i\n", "@ warn w\n", "@ error e\n"]);
  expect(logged("error", all)).toEqual(["@ error e\n"]);
});

test("nothing that is logged can forge a second line or reach the terminal's controls", () => {
  const [line, ...rest] = logged("info", (log) =>
    log.info("bad\nname", { key: "a\nb\u001b[31m", empty: "", equals: "a=b" }),
  );
  expect(rest).toEqual([]);
  expect(line).toBe('@ info bad\\u000aname key="a\\nb\\u001b[31m" empty="" equals="a=b"\n');
});

test("a cause that the message has in it already is not told again", () => {
  const error = new Error("cannot open n1: no such file", { cause: new Error("no such file") });
  expect(logged("info", (log) => log.error("failed", { error }))).toEqual([
    '@ error failed error="cannot open n1: no such file"\n',
  ]);
});

test("errors are told with their causes, bytes in hexadecimal, objects as JSON", () => {
  const error = new Error("cannot open n1", { cause: new Error("no such file") });
  expect(
    logged("info", (log) =>
      log.error("failed", { error, bytes: new Uint8Array([1, 255]), big: { count: 5n } }),
    ),
  ).toEqual([
    '@ error failed error="cannot open n1: no such file" bytes=0x01ff big="{\\"count\\":\\"5\\"}"\n',
  ]);
});
