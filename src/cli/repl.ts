/**
 * The conversation of the REPL, without its terminal: lines in, text out. It connects when a command first needs it, and
 * again after a failure, so that it outlives any node.
 */
import { DEFAULT_KEYSPACE } from "../../protocol/ids.ts";
import type { Client } from "../client/client.ts";
import { FlotillaError } from "../client/client.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import { parseLine } from "./command-parser.ts";
import { type Action, COMMANDS } from "./commands.ts";
import { failureText } from "./failure.ts";
import { quoteIfNeeded, splitLine, unescapeText, type Word } from "./quoting.ts";
import type { Look } from "./reply.ts";

export interface ReplParts {
  /** Shown in the prompt. */
  readonly address: string;
  readonly look: Look;
  connect(): Promise<Client>;
  nowMs(): number;
  /** `text` without a final newline. */
  print(text: string): void;
  printError(text: string): void;
}

/** `failed`: the line was wrong or its request failed; a plain "no such key" is no failure. */
export type LineResult = "done" | "failed" | "exit";

const LEAVE = "Usage: exit\n\nend the conversation; quit and Ctrl-D do the same";
/** What only a conversation has, and the help on it. */
const OWN_COMMANDS: Readonly<Record<string, string>> = {
  help: "Usage: help [command]\n\nprint help, or help on a command",
  use: "Usage: use <keyspace>\n\ngo on in another keyspace; default is the one that there always is",
  timing: "Usage: timing [on|off]\n\nshow how long each command takes, or no longer",
  exit: LEAVE,
  quit: LEAVE,
};
const COMPLETED_KEYS_MAX = 50;

const textOf = ({ bytes }: Word): string => fromUtf8(bytes);

export class Repl {
  readonly #parts: ReplParts;
  #client: Client | undefined;
  /** Which keyspace is in use; `undefined`: the default one. */
  #keyspace: string | undefined;
  #timing = false;

  constructor(parts: ReplParts) {
    this.#parts = parts;
  }

  get prompt(): string {
    const keyspace = this.#keyspace === undefined ? "" : `/${this.#keyspace}`;
    return `${this.#parts.address}${keyspace}${this.#client === undefined ? " (not connected)" : ""}> `;
  }

  /** Connects ahead of the first command. Says why if that fails. */
  async connect(): Promise<void> {
    try {
      this.#client = await this.#connected();
    } catch (error) {
      this.#parts.printError(`error: ${failureText(error)}`);
    }
  }

  /** Does what a line says, and prints what comes of it. */
  async run(line: string): Promise<LineResult> {
    const split = splitLine(line);
    if (split.kind === "malformed") return this.#wrong(`${split.message}.`);
    const [first] = split.words;
    if (first === undefined) return "done";
    const name = textOf(first);
    if (name === "exit" || name === "quit") return "exit";
    if (name === "use") return this.#use(split.words.slice(1).map(textOf));
    if (name === "timing") return this.#setTiming(split.words.slice(1).map(textOf));
    const topic =
      name === "help" && split.words.length === 2 ? OWN_COMMANDS[textOf(split.words[1]!)] : undefined;
    if (topic !== undefined) {
      this.#parts.print(topic);
      return "done";
    }
    const parsed = parseLine(split.words, "repl");
    if (parsed.kind === "usage") return this.#wrong(parsed.message);
    if (parsed.kind === "action") return this.#perform(parsed.action);
    this.#parts.print(parsed.text);
    return "done";
  }

  /** What the last word of `line` may become, and that word, as readline wants it. */
  async complete(line: string): Promise<[string[], string]> {
    const command = /^\s*(\S*)$/.exec(line);
    if (command !== null) {
      const names = [
        ...COMMANDS.flatMap(({ name, alias }) => [name, alias ?? name]),
        ...Object.keys(OWN_COMMANDS),
      ];
      const hits = [...new Set(names)].filter((name) => name.startsWith(command[1]!)).sort();
      return [hits.map((name) => `${name} `), command[1]!];
    }
    const last = /(?:"(?:[^"\\]|\\.)*|\S*)$/.exec(line)![0];
    const words = line.trimStart().split(/\s+/);
    const takesKeys = COMMANDS.some(
      ({ name, alias, takesKeys }) => takesKeys && (name === words[0] || alias === words[0]),
    );
    if (!takesKeys || this.#client === undefined || last.startsWith("-")) return [[], last];
    return [await this.#keysLike(this.#client, last), last];
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /** A client in the keyspace that is in use. */
  async #connected(): Promise<Client> {
    const client = await this.#parts.connect();
    if (this.#keyspace === undefined) return client;
    try {
      return await client.keyspace(this.#keyspace);
    } catch (error) {
      client.close();
      throw error;
    }
  }

  async #use(args: readonly string[]): Promise<LineResult> {
    const [name] = args;
    if (name === undefined || args.length > 1) return this.#wrong("use takes the name of a keyspace.");
    const before = this.#client;
    let client = before;
    try {
      client ??= await this.#parts.connect();
      this.#client = await client.keyspace(name);
    } catch (error) {
      if (before === undefined) client?.close();
      this.#parts.printError(`error: ${failureText(error)}`);
      return "failed";
    }
    this.#keyspace = name === DEFAULT_KEYSPACE ? undefined : name;
    this.#parts.print(`keyspace ${name}`);
    return "done";
  }

  async #perform(action: Action): Promise<LineResult> {
    const startMs = this.#parts.nowMs();
    try {
      this.#client ??= await this.#connected();
      let reply = await action({ client: this.#client, readInput: undefined });
      this.#parts.print(reply.text(this.#parts.look));
      while (reply.next !== undefined) {
        reply = await reply.next();
        this.#parts.print(reply.text(this.#parts.look));
      }
      return "done";
    } catch (error) {
      this.#parts.printError(`error: ${failureText(error)}`);
      return "failed";
    } finally {
      if (this.#timing) this.#parts.print(`(${(this.#parts.nowMs() - startMs).toFixed(2)} ms)`);
    }
  }

  #setTiming(args: readonly string[]): LineResult {
    const wanted = args[0] ?? (this.#timing ? "off" : "on");
    if (args.length > 1 || (wanted !== "on" && wanted !== "off")) {
      return this.#wrong("timing takes on or off.");
    }
    this.#timing = wanted === "on";
    this.#parts.print(`timing is ${wanted}`);
    return "done";
  }

  #wrong(message: string): LineResult {
    this.#parts.printError(`error: ${message}`);
    return "failed";
  }

  async #keysLike(client: Client, typed: string): Promise<string[]> {
    const prefix = typed.startsWith('"') ? unescapeText(typed.slice(1)) : typed;
    const hits: string[] = [];
    try {
      const scan = client.scan({ prefix, limit: COMPLETED_KEYS_MAX, keysOnly: true, consistency: "stale" });
      for await (const { key } of scan) hits.push(`${quoteIfNeeded(key)} `);
    } catch (error) {
      // A Tab that finds nothing is answer enough.
      if (!(error instanceof FlotillaError)) throw error;
    }
    return hits;
  }
}
