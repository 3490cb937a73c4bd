/**
 * What all of Flotilla's server commands do with their arguments: one line says what is wrong and which flag was meant;
 * a TOML file may hold the same settings under the flags' names.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { parse as parseToml } from "smol-toml";
import { version } from "../../package.json";

export const EXIT_OK = 0;
export const EXIT_USAGE = 2;

/** Ends the reading of arguments: `message` is for the user (help, the version, or what is wrong). */
export class Stop extends Error {
  override readonly name = "Stop";
  readonly exitCode: typeof EXIT_OK | typeof EXIT_USAGE;
  constructor(message: string, exitCode: typeof EXIT_OK | typeof EXIT_USAGE = EXIT_USAGE) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A command that knows `--help` and `--version`, and shows `examples` below its help. */
export function newCommand(name: string, description: string, examples: string): Command {
  return new Command(name)
    .description(description)
    .version(version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .addHelpText("after", examples);
}

/** The options among `args`, by commander's camel-cased names. Throws `Stop`. */
export function parseOptions<Options extends object>(command: Command, args: readonly string[]): Options {
  let output = "";
  command.exitOverride().configureOutput({
    writeOut: (text) => {
      output += text;
    },
    writeErr: () => {},
  });
  try {
    return command.parse(args.flatMap(splitAtEquals), { from: "user" }).opts<Options>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) throw new Stop(output.trimEnd(), EXIT_OK);
    if (error.code === "commander.excessArguments") {
      throw new Stop(`unexpected "${command.args[0]}": every setting has a flag, see --help`);
    }
    throw new Stop(sentence(error.message));
  }
}

/**
 * Reads a TOML file as if its keys were flags of `command`, so that both know the same names and suggest the same
 * corrections. Throws `Stop`.
 */
export function readSettingsFile<Options extends object>(path: string, command: Command): Options {
  let table: Record<string, unknown>;
  try {
    table = parseToml(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Stop(`cannot read --config ${path}: ${(error as Error).message.trimEnd()}`);
  }
  const args = Object.entries(table).flatMap(([key, value]) => {
    if (typeof value === "string" || typeof value === "number") return [`--${key}`, String(value)];
    throw new Stop(`${path}: ${key} must be a string or a number, as after --${key}`);
  });
  try {
    return parseOptions<Options>(command.helpOption(false), args);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    throw new Stop(`${path}: ${error.message.replace("flag", "key").replaceAll("--", "")}`);
  }
}

/**
 * The command that runs a script of this package the way in which the user ran this one: with npm where npm did it, since
 * there may be no Bun on the PATH then.
 */
export function scriptCommand(script: string, args: readonly string[], env: Environment): string {
  const isNpm = env.npm_config_user_agent?.startsWith("npm/") === true;
  const separator = isNpm && args.length > 0 ? ["--"] : [];
  return [isNpm ? "npm run" : "bun run", script, ...separator, ...args.map(shellQuoted)].join(" ");
}

type Environment = Readonly<Record<string, string | undefined>>;

/** An argument as a shell wants it. */
function shellQuoted(argument: string): string {
  return /^[\w.,:=/@%+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

/** A number without sign, fraction or exponent; `undefined` for any other text. */
export function wholeNumber(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

/** `--flag=value` as two arguments: commander's suggestions would count the value as a part of the name. */
export function splitAtEquals(argument: string): string[] {
  const [, flag, value] = /^(--[^=]+)=(.*)$/s.exec(argument) ?? [];
  return flag === undefined || value === undefined ? [argument] : [flag, value];
}

/** What commander says, in one line and in our words: `unknown flag --prot; did you mean --port?`. */
function sentence(message: string): string {
  return message
    .replace(/^error: /, "")
    .replace(/option '([^' ]+)[^']*' argument missing/, "flag $1 needs a value")
    .replace(/option '([^' ]+)[^']*'/, "flag $1")
    .replace(/\n\(Did you mean ([^)]*)\?\)/, "; did you mean $1?")
    .trim();
}
