/** The arguments of `bun run node`: flags, and a TOML file whose keys are the flags' names. */
import { Command } from "commander";
import { isNodeId, type NodeId } from "../../protocol/ids.ts";
import { SHARDS_MAX } from "../../protocol/limits.ts";
import {
  DEFAULT_HOST,
  DEFAULT_MOVE_MIB_PER_SECOND,
  DEFAULT_PORT,
  DEFAULT_REPLICAS,
  DEFAULT_SHARDS,
  DEFAULT_VIRTUAL_NODES,
  isShardCount,
  type Member,
  MOVE_MIB_PER_SECOND_MAX,
  memberAt,
  type NodeConfig,
  reachableHost,
} from "../config.ts";
import { LOG_LEVELS, type LogLevel } from "../env/env.ts";
import { parseAddress } from "../lib/address.ts";
import { faultOfLabels, REPLICAS_MAX, VIRTUAL_NODES_MAX } from "../shard/system-facts.ts";
import {
  type EXIT_OK,
  type EXIT_USAGE,
  newCommand,
  parseOptions,
  readSettingsFile,
  Stop,
  wholeNumber,
} from "./command-line.ts";
import { addTimingFlags, type TimingKey, timingOptions } from "./timing-flags.ts";

/** What the command line asks for. `stop`: print `text` (help, the version, or what is wrong) and exit with `exitCode`. */
export type ParsedArguments =
  | { readonly kind: "run"; readonly config: NodeConfig; readonly stopWithStdin: boolean }
  | { readonly kind: "stop"; readonly text: string; readonly exitCode: typeof EXIT_OK | typeof EXIT_USAGE };

/** Reads the arguments of `bun run node`; never throws for what a user may get wrong. */
export function parseNodeConfig(argv: readonly string[]): ParsedArguments {
  try {
    const flags = parseOptions<Options>(nodeCommand(), argv);
    const file =
      flags.config === undefined ? {} : readSettingsFile<Options>(flags.config, addSettings(new Command()));
    const settings = new Settings(flags, file);
    return { kind: "run", config: checkedConfig(settings), stopWithStdin: flags.stopWithStdin === true };
  } catch (error) {
    if (error instanceof Stop) return { kind: "stop", text: error.message, exitCode: error.exitCode };
    throw error;
  }
}

interface Options extends Partial<Record<TimingKey, string>> {
  readonly id?: string;
  readonly port?: string;
  readonly host?: string;
  readonly data?: string;
  readonly peers?: string;
  readonly join?: string;
  readonly advertise?: string;
  readonly label?: string;
  readonly shards?: string;
  readonly replicas?: string;
  readonly virtualNodes?: string;
  readonly moveMibPerSecond?: string;
  readonly redirect?: string;
  readonly logLevel?: string;
  readonly config?: string;
  readonly stopWithStdin?: boolean;
}

type Key = Exclude<keyof Options, "config" | "stopWithStdin">;

/** Flags win over the file; `name` says where a value came from, for messages. */
class Settings {
  readonly #flags: Options;
  readonly #file: Options;
  constructor(flags: Options, file: Options) {
    this.#flags = flags;
    this.#file = file;
  }

  get(key: Key): string | undefined {
    return this.#flags[key] ?? this.#file[key];
  }

  name(key: Key): string {
    const name = key.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`);
    const fromFile = this.#flags[key] === undefined && this.#file[key] !== undefined;
    return fromFile ? `${name} in ${this.#flags.config}` : `--${name}`;
  }
}

function nodeCommand(): Command {
  const command = newCommand(
    "bun run node",
    "Runs one node: alone it is a whole store, with --peers a member of a cluster.",
    EXAMPLES,
  );
  return addSettings(command)
    .option("--config <file>", "TOML file with these settings; its keys are the flags' names, and flags win")
    .option("--stop-with-stdin", "stop when standard input ends, as it does when the parent process dies");
}

/** The settings that a file may hold too. */
function addSettings(command: Command): Command {
  return addTimingFlags(
    command
      .option("--id <id>", "name of this node: letters, digits, . _ -")
      .option(
        "--port <port>",
        `port for everything: clients, Redis clients, peers (default: ${DEFAULT_PORT})`,
      )
      .option(
        "--host <host>",
        `what to listen on (default: the node's host in --peers, else ${DEFAULT_HOST})`,
      )
      .option("--data <directory>", "where the data lives (default: ./data/<id>)")
      .option("--peers <list>", "all nodes of the cluster, this one included: n1=host:port,n2=host:port,...")
      .option(
        "--join <list>",
        "join the cluster that these nodes belong to, any of it: host:port,host:port,...",
      )
      .option(
        "--advertise <address>",
        "host:port where others reach this node, if it is not where it listens",
      )
      .option(
        "--label <name=value>",
        "what this node shares and fails with: host=a, zone=x; weight=2: it carries twice as much (more than one: say it again, or commas between)",
        (label: string, earlier: string | undefined) =>
          earlier === undefined ? label : `${earlier},${label}`,
      )
      .option(
        "--shards <number>",
        `into how many shards a new cluster cuts the keys: a power of two up to ${SHARDS_MAX} (default: ${DEFAULT_SHARDS})`,
      )
      .option(
        "--redirect <how>",
        "what Redis clients get for keys that another node leads: forward (an answer from there) or moved (MOVED, as from Redis Cluster) (default: forward)",
      )
      .option(
        "--replicas <number>",
        `on how many nodes a new cluster keeps each shard (default: ${DEFAULT_REPLICAS})`,
      )
      .option(
        "--virtual-nodes <number>",
        `how many places each node of a new cluster has on the hash ring (default: ${DEFAULT_VIRTUAL_NODES})`,
      )
      .option(
        "--move-mib-per-second <number>",
        `most that replicas on their way to other nodes may take, in the whole cluster (default: ${DEFAULT_MOVE_MIB_PER_SECOND})`,
      )
      .option("--log-level <level>", `${LOG_LEVELS.join(", ")} (default: info)`),
  );
}

const EXAMPLES = `
Examples:
  bun run node --id n1
      a one-node store on port ${DEFAULT_PORT}, data in ./data/n1
  bun run node --id n2 --port 7002 --peers n1=127.0.0.1:7001,n2=127.0.0.1:7002,n3=127.0.0.1:7003
      the second of three nodes that found a cluster
  bun run node --id n4 --port 7004 --join 127.0.0.1:7001
      a fourth one, at any time; started again, it needs no --join
  bun run node --config node.toml --log-level debug
      settings from a file such as:
        id = "n1"
        port = 7001
        peers = "n1=10.0.0.1:7001,n2=10.0.0.2:7001,n3=10.0.0.3:7001"

Exit codes: 0 stopped as asked, 1 could not start, 2 bad usage, 70 a bug, 74 a disk that can no longer be trusted.
`;

function checkedConfig(settings: Settings): NodeConfig {
  const id = checkedId(settings);
  const peers = settings.get("peers");
  const listed = peers === undefined ? [] : checkedPeers(settings.name("peers"), peers);
  const self = listed.find((member) => member.id === id);
  if (listed.length > 0 && self === undefined) {
    const known = listed.map((member) => member.id).join(", ");
    throw new Stop(`${settings.name("peers")} must list this node too: ${id} is not among ${known}`);
  }
  const port = checkedPort(settings) ?? self?.port ?? DEFAULT_PORT;
  if (self !== undefined && self.port !== port) {
    throw new Stop(
      `${settings.name("port")} is ${port}, but ${settings.name("peers")} says that ${id} listens on ${self.port}`,
    );
  }
  const host = settings.get("host") ?? self?.host ?? DEFAULT_HOST;
  if (host === "" || /[\s[\]]/.test(host)) {
    throw new Stop(`${settings.name("host")} must be a host name or an address, found "${host}"`);
  }
  const seeds = checkedSeeds(settings, listed.length > 0);
  const advertised = settings.get("advertise");
  if (advertised !== undefined && parseAddress(advertised) === undefined) {
    throw new Stop(`${settings.name("advertise")} must be host:port, found "${advertised}"`);
  }
  const own = memberAt(id, reachableHost(host), port).address;
  return {
    id,
    host,
    port,
    dataDirectory: checkedDirectory(settings, id),
    address: advertised ?? self?.address ?? own,
    labels: checkedLabels(settings),
    members: listed,
    ...(seeds === undefined ? {} : { seeds }),
    shards: checkedShards(settings),
    replicas: checkedCount(settings, "replicas", REPLICAS_MAX),
    redirect: checkedRedirect(settings),
    virtualNodes: checkedCount(settings, "virtualNodes", VIRTUAL_NODES_MAX),
    moveMibPerSecond: checkedCount(settings, "moveMibPerSecond", MOVE_MIB_PER_SECOND_MAX),
    logLevel: checkedLogLevel(settings),
    timings: timingOptions(
      (key) => settings.get(key),
      (key) => settings.name(key),
    ),
  };
}

function checkedId(settings: Settings): NodeId {
  const text = settings.get("id");
  if (text === undefined) throw new Stop("--id is missing: each node has a name, as in --id n1");
  if (!isNodeId(text) || !/[A-Za-z0-9]/.test(text)) {
    throw new Stop(`${settings.name("id")} must be 1 to 64 letters, digits, dots, _ or -, found "${text}"`);
  }
  return text;
}

function checkedSeeds(settings: Settings, founds: boolean): string[] | undefined {
  const text = settings.get("join");
  if (text === undefined) return undefined;
  if (founds) {
    throw new Stop("--join and --peers: a node founds a cluster with its peers, or joins one that is there");
  }
  const addresses = text.split(",").map((part) => part.trim());
  const wrong = addresses.find((address) => parseAddress(address) === undefined);
  if (wrong !== undefined) {
    throw new Stop(`${settings.name("join")} must look like host:port,host:port, found "${wrong}"`);
  }
  return addresses;
}

function checkedLabels(settings: Settings): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const part of settings.get("label")?.split(",") ?? []) {
    const [name = "", ...value] = part.trim().split("=");
    if (value.length === 0 || labels[name] !== undefined) {
      throw new Stop(`${settings.name("label")} must look like zone=x, each name once, found "${part}"`);
    }
    labels[name] = value.join("=");
  }
  const fault = faultOfLabels(labels);
  if (fault !== undefined) throw new Stop(`${settings.name("label")}: ${fault}`);
  return labels;
}

function checkedPort(settings: Settings): number | undefined {
  const text = settings.get("port");
  if (text === undefined) return undefined;
  const port = wholeNumber(text);
  if (port === undefined || port < 1 || port > 65_535) {
    throw new Stop(`${settings.name("port")} must be a number from 1 to 65535, found "${text}"`);
  }
  return port;
}

function checkedPeers(name: string, text: string): Member[] {
  const members = text.split(",").map((part) => checkedPeer(name, part.trim()));
  for (const [index, { id, address }] of members.entries()) {
    const earlier = members.slice(0, index);
    if (earlier.some((other) => other.id === id)) throw new Stop(`${name} lists ${id} twice`);
    const sharer = earlier.find((other) => other.address === address);
    if (sharer !== undefined)
      throw new Stop(`${name} gives ${sharer.id} and ${id} the same address ${address}`);
  }
  return members.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function checkedPeer(name: string, part: string): Member {
  const split = part.indexOf("=");
  const id = part.slice(0, Math.max(split, 0));
  const address = parseAddress(part.slice(split + 1));
  if (!isNodeId(id) || address === undefined) {
    throw new Stop(`${name} must look like n1=host:port,n2=host:port, found "${part}"`);
  }
  return memberAt(id, address.host, address.port);
}

function checkedDirectory(settings: Settings, id: NodeId): string {
  const directory = settings.get("data") ?? `./data/${id}`;
  if (directory === "") throw new Stop(`${settings.name("data")} must name a directory`);
  return directory;
}

function checkedShards(settings: Settings): number | undefined {
  const text = settings.get("shards");
  if (text === undefined) return undefined;
  const shards = wholeNumber(text);
  if (shards === undefined || !isShardCount(shards)) {
    throw new Stop(
      `${settings.name("shards")} must be a power of two from 1 to ${SHARDS_MAX}, found "${text}"`,
    );
  }
  return shards;
}

type CountKey = "replicas" | "virtualNodes" | "moveMibPerSecond";

function checkedCount(settings: Settings, key: CountKey, max: number): number | undefined {
  const text = settings.get(key);
  if (text === undefined) return undefined;
  const count = wholeNumber(text);
  if (count === undefined || count < 1 || count > max) {
    throw new Stop(`${settings.name(key)} must be a number from 1 to ${max}, found "${text}"`);
  }
  return count;
}

function checkedRedirect(settings: Settings): "forward" | "moved" {
  const text = settings.get("redirect") ?? "forward";
  if (text === "forward" || text === "moved") return text;
  throw new Stop(`${settings.name("redirect")} must be forward or moved, found "${text}"`);
}

function checkedLogLevel(settings: Settings): LogLevel {
  const text = settings.get("logLevel") ?? "info";
  const level = LOG_LEVELS.find((known) => known === text);
  if (level === undefined) {
    throw new Stop(`${settings.name("logLevel")} must be one of ${LOG_LEVELS.join(", ")}, found "${text}"`);
  }
  return level;
}
