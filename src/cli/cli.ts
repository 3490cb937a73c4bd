import type { Client, ClientOptions } from "../client/client.ts";
import { utf8 } from "../lib/bytes.ts";
import { addressesFrom, timeoutFrom } from "./addresses.ts";
import { parseLine, type Settings, shellWord } from "./command-parser.ts";
import { type Action, UsageError } from "./commands.ts";
import { failureJson, failureText } from "./failure.ts";
import type { Look, Reply } from "./reply.ts";

const EXIT_OK = 0;
const EXIT_NO = 1;
const EXIT_USAGE = 2;

/** The process around a command. */
export interface Surroundings {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly look: Look;
  connect(options: ClientOptions): Promise<Client>;
  /** Everything that comes in on standard input. */
  readInput(): Promise<Uint8Array>;
  writeOut(bytes: Uint8Array): void;
  writeError(text: string): void;
}

/** Does what one command line says; the exit code. */
export async function runOnce(args: readonly string[], around: Surroundings): Promise<number> {
  const parsed = parseLine(args.map(shellWord), "cli");
  if (parsed.kind === "usage") return usage(parsed.message, around);
  if (parsed.kind === "text") {
    around.writeOut(utf8(`${parsed.text}\n`));
    return EXIT_OK;
  }
  let options: ClientOptions;
  try {
    options = clientOptions(parsed.settings, around);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return usage(error.message, around);
  }
  try {
    const reply = await perform(parsed.action, options, around);
    around.writeOut(rendered(reply, parsed.settings, around.look));
    return reply.ok ? EXIT_OK : EXIT_NO;
  } catch (error) {
    if (parsed.settings.json === true) around.writeOut(utf8(`${JSON.stringify(failureJson(error))}\n`));
    else around.writeError(`error: ${failureText(error)}\n`);
    return EXIT_NO;
  }
}

async function perform(action: Action, options: ClientOptions, around: Surroundings): Promise<Reply> {
  const client = await around.connect(options);
  try {
    return await action({ client, readInput: around.readInput });
  } finally {
    client.close();
  }
}

function clientOptions(settings: Settings, around: Surroundings): ClientOptions {
  if (settings.json === true && settings.raw === true) {
    throw new UsageError("--json and --raw exclude each other.");
  }
  const addresses = addressesFrom(settings.addr, around.variables.FLOTILLA_ADDR);
  const timeoutMs = timeoutFrom(settings.timeout);
  return timeoutMs === undefined ? { addresses } : { addresses, requestTimeoutMs: timeoutMs };
}

function rendered(reply: Reply, settings: Settings, look: Look): Uint8Array {
  if (settings.json === true) return utf8(`${JSON.stringify(reply.json())}\n`);
  if (settings.raw === true && reply.raw !== undefined) return reply.raw();
  return utf8(`${reply.text(look)}\n`);
}

function usage(message: string, around: Surroundings): number {
  around.writeError(`${message.startsWith("Usage:") ? "" : "error: "}${message}\n`);
  return EXIT_USAGE;
}
