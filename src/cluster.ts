/**
 * `bun run cluster`: N nodes on this machine as one static cluster, in the foreground.
 *
 * Each node is a process of its own, the same that `bun run node` starts. Its log lines (warnings and errors unless
 * `--log-level` says otherwise) appear here behind its id. A node that ends is reported, with the command that brings
 * it back; the others go on. The nodes are stopped by closing their standard input, which the operating system does
 * also when this process dies without a chance to say goodbye: no node outlives its cluster by accident.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { newCommand, parseOptions, Stop, scriptCommand, wholeNumber } from "./command-line/command-line.ts";
import {
  addTimingFlags,
  type TimingKey,
  timingArguments,
  timingOptions,
} from "./command-line/timing-flags.ts";
import { DEFAULT_HOST, DEFAULT_PORT, DEFAULT_SHARDS, isShardCount, reachableHost } from "./config.ts";
import { LOG_LEVELS } from "./env/env.ts";
import { formatAddress } from "./lib/address.ts";
import { TIMING_FLAGS, type TimingOptions, timingsOf } from "./timings.ts";

const NODES_MAX = 9;
const EXIT_FAILED = 1;
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
/** A start, and a stop, that take longer than this are explained. */
const START_NOTICE_MS = 3_000;
const STOP_NOTICE_MS = 1_500;
const MAIN = join(import.meta.dir, "main.ts");

interface ClusterOptions {
  readonly nodes: number;
  readonly host: string;
  readonly port: number;
  readonly data: string;
  readonly shards: number;
  readonly redirect: string;
  readonly logLevel: string;
  readonly timings: TimingOptions;
}

interface RunningNode {
  readonly id: string;
  /** The arguments that start it, by hand too. */
  readonly args: readonly string[];
  readonly process: Subprocess<"pipe", "pipe", "pipe">;
  serves: boolean;
  /** It has said that the cluster has removed it. */
  removed: boolean;
  /** It serves, and knows a leader of every shard. */
  ready: boolean;
  ended: boolean;
}

const EXAMPLES = `
Examples:
  bun run cluster
      three nodes on ports ${DEFAULT_PORT}-${DEFAULT_PORT + 2}, data in ./data/n1, ./data/n2, ./data/n3
  bun run cluster --nodes 5 --port 8001 --data /tmp/five
`;

const options = readOptions(process.argv.slice(2));
/** How long nodes may take to stop before they are killed; they give up by themselves before. */
const stopMsMax = timingsOf(options.timings).stopMsMax + 3_000;
const nodes: RunningNode[] = [];
let stopping = false;
let announced = false;
start();

function readOptions(argv: readonly string[]): ClusterOptions {
  try {
    return parseClusterOptions(argv);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    if (error.exitCode === 0) console.log(error.message);
    else console.error(error.message);
    process.exit(error.exitCode);
  }
}

function parseClusterOptions(argv: readonly string[]): ClusterOptions {
  const command = newCommand("bun run cluster", "Runs a cluster of nodes on this machine.", EXAMPLES)
    .option("--nodes <number>", `how many, 1 to ${NODES_MAX}`, "3")
    .option("--port <port>", "port of the first; the others take the ones after it", String(DEFAULT_PORT))
    .option("--host <host>", "what all of them listen on", DEFAULT_HOST)
    .option("--data <directory>", "holds a directory for each", "./data")
    .option("--shards <number>", "into how many shards a new cluster cuts the keys", String(DEFAULT_SHARDS))
    .option(
      "--redirect <how>",
      "what Redis clients get for keys of another node: forward or moved",
      "forward",
    )
    .option("--log-level <level>", `what of their logs to show: ${LOG_LEVELS.join(", ")}`, "warn");
  type Texts = Record<Exclude<keyof ClusterOptions, "timings">, string> & Partial<Record<TimingKey, string>>;
  const text = parseOptions<Texts>(addTimingFlags(command), argv);
  const count = wholeNumber(text.nodes);
  if (count === undefined || count < 1 || count > NODES_MAX) {
    throw new Stop(`--nodes must be a number from 1 to ${NODES_MAX}, found "${text.nodes}"`);
  }
  const port = wholeNumber(text.port);
  if (port === undefined || port < 1 || port + count - 1 > 65_535) {
    throw new Stop(`--port must be a number from 1 to ${65_536 - count}, found "${text.port}"`);
  }
  const shards = wholeNumber(text.shards);
  if (shards === undefined || !isShardCount(shards)) {
    throw new Stop(`--shards must be a power of two from 1 to 1024, found "${text.shards}"`);
  }
  if (text.redirect !== "forward" && text.redirect !== "moved") {
    throw new Stop(`--redirect must be forward or moved, found "${text.redirect}"`);
  }
  if (!LOG_LEVELS.some((level) => level === text.logLevel)) {
    throw new Stop(`--log-level must be one of ${LOG_LEVELS.join(", ")}, found "${text.logLevel}"`);
  }
  return {
    nodes: count,
    host: text.host,
    port,
    data: text.data,
    shards,
    redirect: text.redirect,
    logLevel: text.logLevel,
    timings: timingOptions(
      (key) => text[key],
      (key) => `--${TIMING_FLAGS[key]}`,
    ),
  };
}

function start(): void {
  for (const [signal, number] of Object.entries(SIGNALS)) process.on(signal, () => onSignal(number));
  mkdirSync(options.data, { recursive: true });
  for (let number = 1; number <= options.nodes; number++) nodes.push(startNode(number));
  setTimeout(explainLateStart, START_NOTICE_MS);
}

function startNode(number: number): RunningNode {
  const id = `n${number}`;
  const args = nodeArguments(number);
  const child = Bun.spawn([process.execPath, MAIN, ...args, "--stop-with-stdin"], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const node: RunningNode = {
    id,
    args,
    process: child,
    serves: false,
    removed: false,
    ready: false,
    ended: false,
  };
  void eachLine(child.stdout, (line) => {
    node.serves = true;
    if (!line.startsWith("ready")) return;
    node.ready = true;
    announceWhenReady();
  });
  const logDone = eachLine(child.stderr, (line) => {
    node.removed ||= line.startsWith("this node was removed");
    // That its peers leave is no warning while all of them stop.
    if (!stopping || !/^\S+ warn /.test(line)) console.error(`${id} | ${line}`);
  });
  // The last words of a node come before the news of its end.
  void Promise.all([child.exited, logDone]).then(() => onEnd(node));
  return node;
}

function nodeArguments(number: number): string[] {
  const peers = Array.from({ length: options.nodes }, (_, i) => `n${i + 1}=${address(options.port + i)}`);
  return [
    ...["--id", `n${number}`, "--port", String(options.port + number - 1), "--host", options.host],
    ...["--data", join(options.data, `n${number}`), "--peers", peers.join(",")],
    ...["--shards", String(options.shards), "--redirect", options.redirect, "--log-level", options.logLevel],
    ...timingArguments(options.timings),
  ];
}

function announceWhenReady(): void {
  const alive = nodes.filter((node) => !node.ended);
  if (announced || stopping || alive.length === 0 || !alive.every((node) => node.ready)) return;
  announced = true;
  const last = options.port + options.nodes - 1;
  const ports = options.nodes === 1 ? address(options.port) : `${address(options.port)}-${last}`;
  const count = alive.length === nodes.length ? `${nodes.length}` : `${alive.length} of ${nodes.length}`;
  const processes = alive.map((node) => `${node.id} is process ${node.process.pid}`).join(", ");
  console.log(
    `${count} node${nodes.length === 1 ? " serves" : "s serve"} on ${ports} (${processes}); ` +
      `connect with: ${howToConnect(Number(alive[0]!.args[3]))}; Ctrl-C stops`,
  );
}

function explainLateStart(): void {
  if (announced || stopping) return;
  const alive = nodes.filter((node) => !node.ended);
  const starting = alive.filter((node) => !node.serves).map((node) => node.id);
  const leaderless = alive.filter((node) => node.serves && !node.ready).map((node) => node.id);
  if (starting.length > 0) console.error(`still starting: ${starting.join(", ")}`);
  if (leaderless.length > 0) console.error(`still without leaders for all shards: ${leaderless.join(", ")}`);
}

function howToConnect(port: number): string {
  const host = reachableHost(options.host);
  const isDefault = host === DEFAULT_HOST && options.port === DEFAULT_PORT;
  const repl = scriptCommand("repl", isDefault ? [] : ["--addr", address(port)], process.env);
  return `${repl}  or  redis-cli ${host === DEFAULT_HOST ? "" : `-h ${host} `}-p ${port}`;
}

function onEnd(node: RunningNode): void {
  node.ended = true;
  const { exitCode, signalCode } = node.process;
  if (!stopping) {
    const how = signalCode === null ? `ended with exit code ${exitCode}` : `was killed by ${signalCode}`;
    // Before it served, the node has just said why it can't.
    const what = node.serves ? `${how}; to bring it back` : `could not start; once that is mended`;
    if (!node.removed) console.error(`${node.id} ${what}: ${scriptCommand("node", node.args, process.env)}`);
    complainOfMinority();
    announceWhenReady();
  }
  if (nodes.length < options.nodes || nodes.some((other) => !other.ended)) return;
  if (!stopping) console.error("no node is left");
  const clean = stopping && nodes.every((other) => other.process.exitCode === 0);
  process.exit(clean ? 0 : EXIT_FAILED);
}

/** Too few nodes can only wait. Those that were brought back by hand are not known here. */
function complainOfMinority(): void {
  const left = nodes.filter((other) => !other.ended).map((other) => other.id);
  if (nodes.length < options.nodes || left.length === 0 || left.length > options.nodes / 2) return;
  const who = left.length === 1 ? `${left[0]} is` : `${left.join(" and ")} are`;
  console.error(
    `only ${who} left of ${options.nodes}, which is no majority: until one is back, all but stale reads is refused, ` +
      "unless other nodes run elsewhere",
  );
}

/** The first signal stops the nodes gracefully, the second at once. `onEnd` of the last one ends this process. */
function onSignal(number: number): void {
  if (stopping) {
    for (const node of nodes) node.process.kill("SIGKILL");
    process.exit(128 + number);
  }
  stopping = true;
  setTimeout(() => {
    const late = nodes.filter((node) => !node.ended).map((node) => node.id);
    console.error(`waiting for ${late.join(", ")} to stop; Ctrl-C again kills`);
  }, STOP_NOTICE_MS);
  // Not by a signal: at Ctrl-C the terminal has sent them one already, and a second one would mean "at once".
  for (const node of nodes) node.process.stdin.end();
  setTimeout(() => {
    for (const node of nodes.filter((late) => !late.ended)) {
      console.error(`${node.id} did not stop in ${stopMsMax} ms and is killed`);
      node.process.kill("SIGKILL");
    }
  }, stopMsMax);
}

async function eachLine(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(line);
  }
  if (rest !== "") onLine(rest);
}

/** Where the node with this port is reached. */
function address(port: number): string {
  return formatAddress({ host: reachableHost(options.host), port });
}
