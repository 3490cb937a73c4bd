/**
 * The process around a node: arguments → config → the real outside world → node. What ends the process is decided
 * here and nowhere else, with these exit codes:
 *
 * | code | why |
 * |---|---|
 * | 0 | stopped as asked, by SIGTERM, SIGINT, SIGHUP, or the end of standard input (`--stop-with-stdin`) |
 * | 1 | could not start, or could not stop in time; or the cluster has removed this node |
 * | 2 | the arguments or the config file are wrong |
 * | 70 | a broken invariant or an exception that nobody expected: a bug |
 * | 74 | the disk can't be trusted any more, as after a failed sync |
 * | 128 + n | a second signal: stopped at once |
 *
 * Standard output carries two lines: one when the node serves, one (`ready: …`) when every shard has a leader. All
 * else goes to the log on standard error. The heavy parts are loaded only once the arguments are known to be right.
 */
import { writeSync } from "node:fs";
import { scriptCommand } from "./command-line/command-line.ts";
import { parseNodeConfig } from "./command-line/node-arguments.ts";
import { addressOf, type NodeConfig } from "./config.ts";
import { consoleLog } from "./env/console-log.ts";
import { FileError, type Log } from "./env/env.ts";
import { formatAddress, parseAddress } from "./lib/address.ts";
import { AssertionError } from "./lib/assert.ts";
import type { FlotillaNode } from "./node.ts";
import { StartError } from "./start-error.ts";
import { DEFAULT_TIMING_OPTIONS, timingsOf } from "./timings.ts";

const EXIT_FAILED = 1;
const EXIT_BUG = 70;
const EXIT_DISK = 74;
/** Numbers of the signals that ask for a stop; a shell's convention adds them to 128. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

const parsed = parseNodeConfig(process.argv.slice(2));
if (parsed.kind === "stop") {
  if (parsed.exitCode === 0) print(parsed.text);
  else complain(parsed.text);
  process.exit(parsed.exitCode);
}
await run(parsed.config, parsed.stopWithStdin);

async function run(config: NodeConfig, stopWithStdin: boolean): Promise<void> {
  const log = consoleLog(config.logLevel);
  process.on("uncaughtException", (error) => die(log, error));
  process.on("unhandledRejection", (reason) => die(log, reason));
  const removal = Promise.withResolvers<string>();
  const node = await build(config, log, removal.resolve);
  const started = node.start();
  const { stopMsMax } = timingsOf({ ...DEFAULT_TIMING_OPTIONS, ...config.timings });
  const { stop, isStopping } = stopOnRequest(node, log, stopWithStdin, stopMsMax);
  try {
    await started;
    print(servingLine(config));
    // A cluster that this node does not belong to says so only now.
    await node.ready();
    print("ready: every shard has a leader");
    // Before it was ready, `ready` has said so.
    void removal.promise.then((why) => {
      if (isStopping()) return;
      complain(why);
      void stop("it was removed", EXIT_FAILED);
    });
  } catch (error) {
    if (isStopping()) return;
    // A directory that can't be made or read is as much the user's to mend as a port in use.
    if (!(error instanceof StartError || error instanceof FileError)) throw error;
    const { adviceOn } = await import("./command-line/advice.ts");
    complain(error.message);
    const advice = adviceOn(error);
    if (advice !== undefined) complain(advice);
    process.exit(EXIT_FAILED);
  }
}

async function build(config: NodeConfig, log: Log, onRemoved: (why: string) => void): Promise<FlotillaNode> {
  const [
    { createNode },
    { adviceOn },
    { bunFileSystem },
    { bunTransport },
    { bunBackground },
    clocks,
    randomness,
  ] = await Promise.all([
    import("./node.ts"),
    import("./command-line/advice.ts"),
    import("./env/bun-fs.ts"),
    import("./env/bun-transport.ts"),
    import("./env/bun-background.ts"),
    import("./env/system-clock.ts"),
    import("./env/system-random.ts"),
  ]);
  const env = {
    clock: clocks.systemClock(),
    random: randomness.systemRandom(),
    fs: bunFileSystem(),
    transport: bunTransport(),
    background: bunBackground(),
    log,
  };
  return createNode(env, config, {
    onFatal: (error) => die(log, error, EXIT_DISK, adviceOn(error)),
    onRemoved,
  });
}

/** The first request, or `stop`, stops the node gracefully; a second signal ends the process at once. */
function stopOnRequest(
  node: FlotillaNode,
  log: Log,
  stopWithStdin: boolean,
  stopMsMax: number,
): { readonly stop: (why: string, exitCode: number) => Promise<void>; readonly isStopping: () => boolean } {
  let stopping = false;
  const stop = async (why: string, exitCode = 0): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info("stopping", { why });
    const deadline = setTimeout(() => {
      log.error("could not stop in time", { afterMs: stopMsMax });
      process.exit(EXIT_FAILED);
    }, stopMsMax);
    await node.stop();
    clearTimeout(deadline);
    process.exit(exitCode);
  };
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (stopping) process.exit(128 + number);
      void stop(signal);
    });
  }
  if (stopWithStdin) {
    process.stdin.on("end", () => void stop("standard input ended"));
    process.stdin.on("error", () => void stop("standard input failed"));
    process.stdin.resume();
  }
  return { stop, isStopping: () => stopping };
}

/** Ends the process with the reason in the log: it can no longer trust its own state, or its disk. */
function die(log: Log, reason: unknown, code: number = EXIT_BUG, advice?: string): never {
  const error = reason instanceof Error ? reason : new Error(String(reason));
  const isBug = code === EXIT_BUG || error instanceof AssertionError;
  log.error(isBug ? "stopping: a bug was found" : "stopping: the node cannot go on", { error });
  if (isBug && error.stack !== undefined) complain(error.stack);
  if (advice !== undefined) complain(advice);
  process.exit(isBug ? EXIT_BUG : code);
}

function servingLine(config: NodeConfig): string {
  const { id, host, port, dataDirectory } = config;
  const address = addressOf(config);
  const reachable = parseAddress(address)!.host;
  const redisHost = reachable === "127.0.0.1" ? "" : `-h ${reachable} `;
  return (
    `${id} serves on ${formatAddress({ host, port })} (data in ${dataDirectory}); ` +
    `connect with: ${scriptCommand("repl", ["--addr", address], process.env)}  or  redis-cli ${redisHost}-p ${port}`
  );
}

function print(line: string): void {
  writeLine(1, line);
}

function complain(line: string): void {
  writeLine(2, line);
}

/** Written before anything else happens, so that an exit right after loses nothing; a closed pipe is no failure. */
function writeLine(descriptor: number, line: string): void {
  try {
    writeSync(descriptor, `${line}\n`);
  } catch {
    // Nobody listens.
  }
}
