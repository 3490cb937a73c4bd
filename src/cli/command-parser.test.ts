import { describe, expect, test } from "bun:test";
import { parseLine, shellWord } from "./command-parser.ts";
import { COMMANDS } from "./commands.ts";
import { splitLine } from "./quoting.ts";

function parsed(line: string, surface: "cli" | "repl" = "repl") {
  const split = splitLine(line);
  if (split.kind === "malformed") throw new Error(split.message);
  return parseLine(split.words, surface);
}
const messageOf = (line: string): string => {
  const result = parsed(line);
  return result.kind === "usage" ? result.message : `not refused: ${result.kind}`;
};

test("every example in the help can be run", () => {
  for (const { name, examples } of COMMANDS) {
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      expect(parsed(example).kind).toBe("action");
      expect(example).toStartWith(name);
    }
  }
});

test("a mistyped command or option names what was meant", () => {
  expect(messageOf("gte x")).toBe("unknown command 'gte' (Did you mean get?). See help.");
  expect(messageOf("scan --limt 3")).toBe(
    "unknown option '--limt' (Did you mean --limit?). What begins with a dash and is no option stands after --. See help.",
  );
});

test("help on what is no command, and a line without a command, are usage errors that help", () => {
  expect(messageOf("help gte")).toBe("unknown command 'gte' (Did you mean get?). See help.");
  expect(parsed("--addr 10.0.0.5:7001", "cli")).toMatchObject({
    kind: "usage",
    message: expect.stringContaining("Usage: bun run cli"),
  });
});

test("what is missing or too much is refused before any node is asked", () => {
  expect(messageOf("get")).toBe("missing required argument 'key'. See help.");
  expect(messageOf("get a b")).toStartWith("too many arguments for 'get'.");
  expect(messageOf("mput a 1 b")).toBe("mput takes keys and values by turns: the last key has no value.");
  expect(messageOf("incr a x")).toBe('what to add is "x", which is no whole number.');
  expect(messageOf("scan --limit 0")).toBe("--limit is 0: it must be at least 1.");
  expect(messageOf("put a b --if-absent --if-present")).toBe(
    "--if-absent and --if-present exclude each other.",
  );
  expect(messageOf("cas a b")).toContain("expected value and new value");
  expect(messageOf("cas a b c --delete")).toContain("the expected value");
  expect(messageOf("cas a --if-absent --delete")).toContain("would change nothing");
});

test("what begins with a dash is a key after -- or in quotes, and a negative number is one", () => {
  for (const line of ["put -- -a -b", 'put "-a" "--if-absent"', "incr a -5", 'scan --from "-a"']) {
    expect(parsed(line).kind).toBe("action");
  }
  expect(messageOf("put -a b")).toContain("stands after --");
});

describe("help", () => {
  const helpOn = (line: string) => {
    const result = parsed(line);
    return result.kind === "text" ? result.text : "";
  };

  test("lists all commands", () => {
    for (const { name } of COMMANDS) expect(helpOn("help")).toContain(`\n  ${name}`);
  });

  test("on a command shows its arguments and examples", () => {
    expect(`\n${helpOn("help put")}\n`).toMatchInlineSnapshot(`
      "
      Usage: put|set [options] <key> <value>

      set a key to a value

      Arguments:
        key           the key
        value         the value; bun run cli reads it from standard input for "-"

      Options:
        --if-absent   only if there is no such key
        --if-present  only if there is such a key
        --ttl <time>  the key is gone after so long: 500ms, 10s, 5m, 2h, 1d

      Examples:
        put user:1 Ada
        put "a key" "line\\nbreak"
        put lock me --if-absent --ttl 10s
      "
    `);
  });

  test("of the one-shot tool tells the exit codes", () => {
    const result = parsed("--help", "cli");
    expect(result.kind === "text" && result.text).toContain("Exit codes: 0 done; 1 the answer was no");
  });
});

test("the options of the one-shot tool stand anywhere, and the REPL has none of them", () => {
  for (const words of [
    ["--json", "get", "a"],
    ["get", "a", "--json"],
    ["get", "--json", "a"],
  ]) {
    const result = parseLine(words.map(shellWord), "cli");
    expect(result.kind === "action" && result.settings).toEqual({ json: true });
  }
  expect(messageOf("get a --json")).toContain("unknown option '--json'");
});
