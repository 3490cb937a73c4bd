import type { Client, ClientOptions } from "../client/client.ts";
import { utf8 } from "../lib/bytes.ts";
import { addressesFrom, timeoutFrom } from "./addresses.ts";
import { parseLine, type Settings, shellWord } from "./command-parser.ts";
import { UsageError } from "./commands.ts";
import { failureJson, failureText } from "./failure.ts";
import type { Look, Reply } from "./reply.ts";

const EXIT_OK = 0;
const EXIT_NO = 1;
const EXIT_USAGE = 2;
/** Cursor home, and all below it erased. */
const CLEAR_SCREEN = utf8("\x1b[H\x1b[2J");

/** The process around a command. */
export interface Surroundings {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly look: Look;
  connect(options: ClientOptions): Promise<Client>;
  /** Everything that comes in on standard input. */
  readInput(): Promise<Uint8Array>;
  writeOut(bytes: Uint8Array): void;
  /** What was written is to be seen now. */
  flush(): Promise<void>;
  wait(ms: number): Promise<void>;
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
  const show = (reply: Reply): void => around.writeOut(rendered(reply, parsed.settings, around.look));
  const fail = (error: unknown): void => {
    if (parsed.settings.json === true) around.writeOut(utf8(`${JSON.stringify(failureJson(error))}\n`));
    else around.writeError(`error: ${failureText(error)}\n`);
  };
  try {
    const client = await around.connect(options);
    try {
      const { keyspace } = parsed.settings;
      const wanted = keyspace === undefined ? client : await client.keyspace(keyspace);
      let reply = await parsed.action({ client: wanted, readInput: around.readInput });
      show(reply);
      while (reply.next !== undefined) {
        // So that no more is fetched than its reader takes.
        await around.flush();
        reply = await reply.next();
        show(reply);
      }
      if (reply.again !== undefined) await watch(reply.again, around, show, fail);
      return reply.ok ? EXIT_OK : EXIT_NO;
    } finally {
      client.close();
    }
  } catch (error) {
    fail(error);
    return EXIT_NO;
  }
}

/** Shows what is asked for again and again, until the process is ended; what fails is told, and tried again. */
async function watch(
  first: NonNullable<Reply["again"]>,
  around: Surroundings,
  show: (reply: Reply) => void,
  fail: (error: unknown) => void,
): Promise<void> {
  for (let again: Reply["again"] = first; again !== undefined; ) {
    await around.flush();
    await around.wait(again.afterMs);
    try {
      const reply: Reply = await again.ask();
      // To a person each is a new page.
      if (around.look.tables) around.writeOut(CLEAR_SCREEN);
      show(reply);
      again = reply.again;
    } catch (error) {
      fail(error);
    }
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
