/**
 * From words to a command that is ready to run, or to help, or to what is wrong with them. Commander does the
 * reading, for the REPL as for the one-shot tool, so that both understand the same and suggest the same corrections.
 *
 * Commander reads strings, and keys are bytes: a word's bytes travel through it as characters U+0000 to U+00FF. A word
 * that stood in quotes begins with one more character that no byte has, so that `"--limit"` in quotes is a key.
 */
import { Command as CommanderCommand, CommanderError } from "commander";
import { version } from "../../package.json";
import { assert } from "../lib/assert.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { type Action, COMMANDS, type Command, type Options, UsageError } from "./commands.ts";
import type { Word } from "./quoting.ts";

export type ParsedLine =
  | { readonly kind: "action"; readonly action: Action; readonly settings: Settings }
  /** Help, or the version. */
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "usage"; readonly message: string };

/** The options that stand for a whole line, and not for its command. The REPL has none of them. */
export interface Settings {
  readonly addr?: string;
  readonly timeout?: string;
  readonly keyspace?: string;
  readonly json?: boolean;
  readonly raw?: boolean;
}

const QUOTED = "\u0100";

const CLI_NOTES = `
Exit codes: 0 done; 1 the answer was no (get of a missing key, a condition that did not hold, a shard
without a leader in status) or the request failed; 2 the command line is wrong.
What begins with a dash and is no option stands after --:  put -- -key -value
FLOTILLA_ADDR sets the default of --addr.

Examples:
  $ bun run cli put greeting hello
  $ bun run cli get greeting
  $ bun run cli --addr 10.0.0.5:7001 --json scan user: --limit 10
  $ bun run cli put photo - < photo.jpg`;

const REPL_NOTES = `
Also: use <keyspace> goes on in another keyspace; timing on|off shows how long each command takes; exit, quit or Ctrl-D ends.
Keys and values with spaces or other bytes stand in double quotes: put "a key" "\\x00\\xff".
What is printed can be typed back. help <command> shows examples.`;

/** Reads the words of a line. */
export function parseLine(words: readonly Word[], surface: "cli" | "repl"): ParsedLine {
  let output = "";
  let planned: Action | undefined;
  const program = newProgram(surface, (action) => {
    planned = action;
  });
  const write = (text: string): void => {
    output += text;
  };
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ writeOut: write, writeErr: () => undefined });
  }
  if (words.length === 0) return { kind: "usage", message: program.helpInformation().trimEnd() };
  try {
    program.parse(words.map(toArgument), { from: "user" });
  } catch (error) {
    if (error instanceof UsageError) return { kind: "usage", message: error.message };
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "text", text: output.replace(/^Usage: +/, "Usage: ").trimEnd() };
    if (error.code === "commander.help") {
      // There is no command, or help was asked for on what is none: as a command it gets the same correction.
      const help = words.findIndex(({ bytes }) => fromUtf8(bytes) === "help");
      return parseLine(help < 0 ? [] : words.slice(help + 1), surface);
    }
    return { kind: "usage", message: usageMessage(error, surface) };
  }
  assert(planned !== undefined, "commander has run no command, and does not say why");
  return { kind: "action", action: planned, settings: program.opts<Settings>() };
}

function newProgram(surface: "cli" | "repl", planned: (action: Action) => void): CommanderCommand {
  const program = new CommanderCommand(surface === "cli" ? "bun run cli" : " ");
  if (surface === "cli") {
    program
      .description("Asks a Flotilla cluster one thing.")
      .version(version, "--version", "print the version")
      .option("--addr <addresses>", "host:port of one node or more, with commas between")
      .option("--timeout <ms>", "how long a request may take, default 5000")
      .option("--keyspace <name>", "which keyspace the command's keys are in")
      .option("--json", 'print JSON; bytes that are not UTF-8 as {"base64": ...}')
      .option("--raw", "print the bytes of values and keys as they are")
      .helpOption("--help", "print this help")
      .addHelpText("after", CLI_NOTES);
  } else {
    program.usage("<command> [arguments]").helpOption(false).addHelpText("after", REPL_NOTES);
  }
  program.helpCommand("help [command]", "print help, or help on a command");
  for (const command of COMMANDS) {
    const added = addCommand(program, command, surface, planned);
    if (surface === "cli") added.helpOption("--help", "print this help");
    else added.helpOption(false);
  }
  return program;
}

function addCommand(
  program: CommanderCommand,
  command: Command,
  surface: "cli" | "repl",
  planned: (action: Action) => void,
): CommanderCommand {
  const added = program.command(command.name).description(command.summary);
  if (command.alias !== undefined) added.alias(command.alias);
  for (const { syntax, summary } of command.arguments) added.argument(syntax, summary);
  for (const { flags, summary, cliOnly } of command.options) {
    if (surface === "cli" || cliOnly !== true) added.option(flags, summary);
  }
  if (command.details !== undefined) added.addHelpText("after", `\n${command.details.join("\n")}`);
  added.addHelpText("after", `\nExamples:\n${command.examples.map((example) => `  ${example}`).join("\n")}`);
  added.action((...args: unknown[]) => {
    // Commander adds the options and itself after the declared arguments.
    const values = args.slice(0, command.arguments.length).flat() as (string | undefined)[];
    const given = values.filter((value) => value !== undefined).map(toBytes);
    planned(command.plan(given, optionBytes(added.opts())));
  });
  return added;
}

function optionBytes(options: Record<string, string | true>): Options {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name, value === true ? true : toBytes(value)]),
  );
}

function usageMessage(error: CommanderError, surface: "cli" | "repl"): string {
  const text = fromUtf8(toBytes(error.message.replace(/^error: /, ""))).replaceAll("\n", " ");
  const help = surface === "cli" ? "--help" : "help";
  const dash =
    error.code === "commander.unknownOption"
      ? " What begins with a dash and is no option stands after --."
      : "";
  return `${text.replace(/\.$/, "")}.${dash} See ${help}.`;
}

const toArgument = ({ bytes, quoted }: Word): string =>
  (quoted ? QUOTED : "") + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

function toBytes(argument: string): Uint8Array {
  return new Uint8Array(Buffer.from(argument.replaceAll(QUOTED, ""), "latin1"));
}

/** A word as the shell has handed it over: nothing in it is an escape. */
export const shellWord = (text: string): Word => ({ bytes: utf8(text), quoted: false });
