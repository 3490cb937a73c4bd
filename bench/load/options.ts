import { Command, InvalidArgumentError, Option } from "commander";
import { type Address, parseAddress } from "../../src/lib/address.ts";
import { DISTRIBUTIONS, type Distribution } from "./distribution.ts";
import { WORKLOADS, type WorkloadName } from "./workload.ts";

/** What the command line asks for, checked. */
export interface LoadOptions {
  readonly addresses: readonly Address[];
  readonly protocol: "binary" | "resp";
  readonly workload: WorkloadName;
  readonly clients: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly keys: number;
  readonly valueBytes: number;
  /** `undefined`: the workload's own. */
  readonly distribution: Distribution | undefined;
  /** Operations a second; `undefined`: closed loop. */
  readonly rate: number | undefined;
  /** Per node for the binary protocol, in all for RESP. */
  readonly connections: number;
  readonly seed: number;
  /** Whether all keys are written before the measurement. */
  readonly loadKeys: boolean;
  readonly json: boolean;
}

/** Clients are numbered in 16 bits of a request id. */
export const CLIENTS_MAX = 65_536;
const KEYS_MAX = 50_000_000;
const VALUE_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Reads the command line (without program and script). Throws `CommanderError` after having printed what is wrong, or
 * the help, which has exit code 0.
 */
export function parseOptions(args: readonly string[]): LoadOptions {
  const command = createCommand();
  command.parse([...args], { from: "user" });
  const raw = command.opts<RawOptions>();
  if (raw.protocol === "resp" && raw.workload === "stale-get") {
    command.error("error: Redis' protocol knows no stale reads: --protocol resp can't run stale-get");
  }
  if (raw.protocol === "resp" && raw.workload === "e") {
    command.error("error: workload e scans, and Redis has no ordered scan: --protocol resp can't run it");
  }
  return {
    addresses: raw.addr,
    protocol: raw.protocol,
    workload: raw.workload,
    clients: raw.clients,
    seconds: raw.seconds,
    warmupSeconds: raw.warmup,
    keys: raw.keys,
    valueBytes: raw.valueBytes,
    distribution: raw.distribution,
    rate: raw.rate,
    connections: raw.connections ?? (raw.protocol === "resp" ? raw.clients : 1),
    seed: raw.seed,
    loadKeys: raw.loadKeys ?? (raw.preload && raw.workload !== "put"),
    json: raw.json ?? false,
  };
}

interface RawOptions {
  readonly addr: Address[];
  readonly protocol: "binary" | "resp";
  readonly workload: WorkloadName;
  readonly clients: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly distribution?: Distribution;
  readonly rate?: number;
  readonly connections?: number;
  readonly seed: number;
  readonly loadKeys?: boolean;
  readonly preload: boolean;
  readonly json?: boolean;
}

function createCommand(): Command {
  return new Command("load")
    .description("Puts a measured load on Flotilla, or on anything that speaks Redis' protocol.")
    .exitOverride()
    .allowExcessArguments(false)
    .requiredOption("--addr <host:port,...>", "nodes to begin with", addresses)
    .addOption(new Option("--protocol <name>", "wire protocol").choices(["binary", "resp"]).default("binary"))
    .addOption(
      new Option("--workload <name>", "what the clients do; a to f are YCSB's")
        .choices(WORKLOADS)
        .default("put"),
    )
    .option("--clients <n>", "logical clients, each with one request outstanding", whole(1, CLIENTS_MAX), 64)
    .option("--seconds <s>", "measured time", number(0.1, 86_400), 10)
    .option("--warmup <s>", "time before the measurement begins", number(0, 3600), 1)
    .option("--keys <n>", "keys there are", whole(1, KEYS_MAX), 100_000)
    .option("--value-bytes <n>", "size of a value", whole(0, VALUE_BYTES_MAX), 100)
    .addOption(
      new Option("--distribution <name>", "which keys (default: the workload's own)").choices(DISTRIBUTIONS),
    )
    .option(
      "--rate <n>",
      "open loop: operations that fall due a second, as far as clients are idle to begin them",
      number(0.1, 10_000_000),
    )
    .option(
      "--connections <n>",
      "binary: per node (default 1); resp: in all (default: one a client)",
      whole(1, CLIENTS_MAX),
    )
    .option("--seed <n>", "seed of all randomness", whole(0, 0xffff_ffff), 1)
    .option("--load-keys", "write every key first (automatic for all workloads but put)")
    .option("--no-preload", "do not write the keys first")
    .option("--json", "a JSON object as the last line of stdout");
}

function addresses(text: string): Address[] {
  return text.split(",").map((part) => {
    const address = parseAddress(part);
    if (address === undefined) throw new InvalidArgumentError(`${JSON.stringify(part)} is not host:port.`);
    return address;
  });
}

function number(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`It must be a number from ${min} to ${max}.`);
    return value;
  };
}

function whole(min: number, max: number): (text: string) => number {
  const parse = number(min, max);
  return (text) => {
    const value = parse(text);
    if (!Number.isInteger(value)) throw new InvalidArgumentError("It must be a whole number.");
    return value;
  };
}
