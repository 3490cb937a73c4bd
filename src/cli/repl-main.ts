/** `bun run repl`: the terminal around a `Repl`. Piped input is executed line by line. */
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { Command, CommanderError } from "commander";
import { connect } from "../client/client.ts";
import { addressesFrom, timeoutFrom } from "./addresses.ts";
import { UsageError } from "./commands.ts";
import { HISTORY_LINES_MAX, readHistory, writeHistory } from "./history.ts";
import { Repl } from "./repl.ts";
import { lookOf } from "./terminal.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const HISTORY_PATH = join(homedir(), ".flotilla_history");
const COMPLETION_WAIT_MS = 300;

interface Settings {
  readonly addr?: string;
  readonly timeout?: string;
}

function readSettings(): { addresses: string[]; requestTimeoutMs: number | undefined } {
  const settings = new Command("bun run repl")
    .description("Talks with a Flotilla cluster. help lists what can be said.")
    .option("--addr <addresses>", "host:port of one node or more, with commas between (or FLOTILLA_ADDR)")
    .option("--timeout <ms>", "how long a request may take, default 5000")
    .helpOption("--help", "print this help")
    .exitOverride()
    .parse()
    .opts<Settings>();
  return {
    addresses: addressesFrom(settings.addr, process.env.FLOTILLA_ADDR),
    requestTimeoutMs: timeoutFrom(settings.timeout),
  };
}

async function main(): Promise<number> {
  const { addresses, requestTimeoutMs } = readSettings();
  const repl = new Repl({
    address: addresses[0]!,
    look: lookOf(process.stdout),
    connect: () => connect(requestTimeoutMs === undefined ? { addresses } : { addresses, requestTimeoutMs }),
    nowMs: () => performance.now(),
    print: (text) => void process.stdout.write(`${text}\n`),
    printError: (text) => void process.stderr.write(`${text}\n`),
  });
  try {
    return process.stdin.isTTY === true ? await converse(repl) : await execute(repl);
  } finally {
    repl.close();
  }
}

/** Executes what is piped in; 1 if a line failed. */
async function execute(repl: Repl): Promise<number> {
  let code = 0;
  for await (const line of createInterface({ input: process.stdin, terminal: false })) {
    const result = await repl.run(line);
    if (result === "exit") break;
    if (result === "failed") code = EXIT_FAILED;
  }
  return code;
}

/** Talks with a person, until exit or Ctrl-D. */
async function converse(repl: Repl): Promise<number> {
  await repl.connect();
  const terminal = createInterface({
    input: process.stdin,
    output: process.stdout,
    history: readHistory(HISTORY_PATH),
    historySize: HISTORY_LINES_MAX,
    removeHistoryDuplicates: true,
    completer: (line: string, done: (error: null, result: [string[], string]) => void) => {
      complete(repl, line).then((result) => done(null, result));
    },
  });
  process.stdout.write("help lists the commands, exit ends.\n");
  terminal.on("history", (lines: string[]) => writeHistory(HISTORY_PATH, lines));
  await readLines(terminal, repl);
  return 0;
}

/** Runs line after line; lines that come while one runs wait for it. */
function readLines(terminal: Interface, repl: Repl): Promise<void> {
  const waiting: string[] = [];
  let running = false;
  const { promise, resolve } = Promise.withResolvers<void>();
  const prompt = (): void => {
    terminal.setPrompt(repl.prompt);
    terminal.prompt();
  };
  const runAll = async (): Promise<void> => {
    running = true;
    for (let line = waiting.shift(); line !== undefined; line = waiting.shift()) {
      if ((await repl.run(line)) === "exit") {
        terminal.close();
        return;
      }
    }
    running = false;
    prompt();
  };
  terminal.on("line", (line) => {
    waiting.push(line);
    if (!running) void runAll();
  });
  terminal.on("SIGINT", () => {
    if (terminal.line === "") {
      process.stdout.write("\n(exit or Ctrl-D ends)\n");
      terminal.prompt();
      return;
    }
    // To the end of the line, then back to its beginning: both halves are gone.
    terminal.write(null, { ctrl: true, name: "e" });
    terminal.write(null, { ctrl: true, name: "u" });
  });
  terminal.on("close", () => resolve());
  prompt();
  return promise;
}

/** What Tab offers; nothing if the cluster takes too long to say. */
function complete(repl: Repl, line: string): Promise<[string[], string]> {
  const nothing = new Promise<[string[], string]>((resolve) => {
    setTimeout(() => resolve([[], line]), COMPLETION_WAIT_MS);
  });
  return Promise.race([repl.complete(line), nothing]);
}

// The reader of the output may go first (`| head`).
process.stdout.on("error", () => undefined);
try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof UsageError) process.stderr.write(`error: ${error.message}\n`);
  else if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error instanceof CommanderError && error.exitCode === 0 ? 0 : EXIT_USAGE;
}
