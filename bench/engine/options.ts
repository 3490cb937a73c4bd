import { Command, InvalidArgumentError, Option } from "commander";
import { OPS, type Op } from "./lines.ts";

/** What the command line asks for, checked. */
export interface BenchOptions {
  readonly num: number;
  readonly engines: readonly ("flotilla" | "classic-level")[];
  readonly rocksdb: boolean;
  readonly ops: ReadonlySet<Op>;
  readonly rounds: number;
  readonly seed: number;
  /** `undefined`: a temporary directory. */
  readonly directory: string | undefined;
  /** `undefined`: each engine's default. */
  readonly memtableBytes: number | undefined;
  /** Where the CPU profiles of Flotilla's groups go, if anywhere. */
  readonly profileDirectory: string | undefined;
  readonly json: boolean;
}

/** Keys hold their number in 32 bits. */
const NUM_MAX = 1_000_000_000;

/**
 * Reads the command line (without program and script). Throws `CommanderError` after having printed what is wrong, or
 * the help, which has exit code 0.
 */
export function parseOptions(args: readonly string[]): BenchOptions {
  const command = createCommand();
  command.parse([...args], { from: "user" });
  const raw = command.opts<RawOptions>();
  return {
    num: raw.num,
    engines: raw.engine === "both" ? ["flotilla", "classic-level"] : [raw.engine],
    rocksdb: raw.rocksdb ?? false,
    ops: new Set(raw.ops),
    rounds: raw.rounds,
    seed: raw.seed,
    directory: raw.dir,
    memtableBytes: raw.memtable,
    profileDirectory: raw.profile,
    json: raw.json ?? false,
  };
}

interface RawOptions {
  readonly num: number;
  readonly engine: "flotilla" | "classic-level" | "both";
  readonly ops: readonly Op[];
  readonly rounds: number;
  readonly seed: number;
  readonly dir?: string;
  readonly memtable?: number;
  readonly profile?: string;
  readonly rocksdb?: boolean;
  readonly json?: boolean;
}

function createCommand(): Command {
  return new Command("bench:engine")
    .description("The storage engine under db_bench's lines, beside LevelDB (classic-level) in the same run.")
    .exitOverride()
    .allowExcessArguments(false)
    .option("--num <n>", "keys: 16 bytes each, with values of 100 bytes", whole(1, NUM_MAX), 1_000_000)
    .addOption(
      new Option("--engine <name>", "which engines")
        .choices(["flotilla", "classic-level", "both"])
        .default("both"),
    )
    .option("--rocksdb", "RocksDB's db_bench, too, which has to be on the PATH")
    .addOption(new Option("--ops <a,b,...>", "which lines").argParser(lines).default(OPS, "all of them"))
    .option("--rounds <n>", "rounds, of which medians are told", whole(1, 1000), 1)
    .option("--seed <n>", "seed of all randomness", whole(1, 0xffff_ffff), 1)
    .option("--dir <path>", "where the stores are made and removed (default: a temporary directory)")
    .option(
      "--memtable <bytes>",
      "memtable of both engines (default: each one's own)",
      whole(65_536, 2 ** 30),
    )
    .option("--profile <path>", "write CPU profiles of Flotilla's processes there")
    .option("--json", "a JSON object a line instead of tables");
}

function lines(text: string): Op[] {
  return text.split(",").map((name) => {
    const op = OPS.find((known) => known === name);
    if (op === undefined)
      throw new InvalidArgumentError(`${JSON.stringify(name)} is none of ${OPS.join(", ")}.`);
    return op;
  });
}

function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!Number.isInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}
