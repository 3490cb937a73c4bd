/**
 * RocksDB's own db_bench, where the machine has it (Debian's rocksdb-tools): C++ without a language's border to cross.
 * Its lines run in one process, and read what `overwrite` has just left, not a store at rest.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KEY_BYTES, VALUE_BYTES } from "./data.ts";
import { SYNCED_BY_EACH_OF_64, SYNCED_BY_ONE } from "./line.ts";
import type { Figure, Op } from "./lines.ts";

const PROGRAM = "db_bench";

/** In db_bench's order: the lines that read find what those before them wrote. */
const ONE_PROCESS: readonly Op[] = [
  "fillseq",
  "fillrandom",
  "overwrite",
  "readrandom",
  "readmissing",
  "readseq",
  "readreverse",
  "seekrandom",
];

export interface RocksdbTask {
  readonly directory: string;
  readonly num: number;
  readonly seed: number;
  readonly blockCacheBytes: number;
  readonly ops: ReadonlySet<Op>;
}

export function rocksdbIsThere(): boolean {
  return Bun.which(PROGRAM) !== null;
}

/** Runs those of the lines that db_bench has. Rejects if it fails. */
export async function runRocksdb(task: RocksdbTask): Promise<Figure[]> {
  const { num, seed, ops, blockCacheBytes } = task;
  const figures: Figure[] = [];
  const reads = ONE_PROCESS.slice(3).some((op) => ops.has(op));
  const together = ONE_PROCESS.filter(
    (op) => ops.has(op) || (reads && (op === "fillrandom" || op === "overwrite")),
  );
  if (together.length > 0) {
    const output = await dbBench(task, [
      `--benchmarks=${together.join(",")}`,
      `--num=${num}`,
      "--bloom_bits=10",
      `--cache_size=${blockCacheBytes}`,
      "--threads=1",
      `--seed=${seed}`,
    ]);
    for (const op of together) {
      if (ops.has(op)) figures.push({ ...figureOf(output, op, op, num), api: PROGRAM });
    }
  }
  const synced: readonly (readonly [Op, number, number])[] = [
    ["fillsync-1", 1, SYNCED_BY_ONE],
    ["fillsync-64", 64, SYNCED_BY_EACH_OF_64],
  ];
  for (const [op, threads, writes] of synced) {
    if (!ops.has(op)) continue;
    const output = await dbBench(task, [
      "--benchmarks=fillrandom",
      "--sync=1",
      `--threads=${threads}`,
      `--num=${Math.min(writes, num)}`,
      `--seed=${seed}`,
    ]);
    figures.push({ ...figureOf(output, "fillrandom", op, num), api: `${PROGRAM} fillrandom --sync=1` });
  }
  return figures;
}

async function dbBench({ directory }: RocksdbTask, flags: readonly string[]): Promise<string> {
  mkdirSync(directory, { recursive: true });
  const sizes = [`--key_size=${KEY_BYTES}`, `--value_size=${VALUE_BYTES}`, "--compression_type=none"];
  const child = Bun.spawn([PROGRAM, ...flags, ...sizes, `--db=${join(directory, "db")}`], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, complaints, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  rmSync(directory, { recursive: true, force: true });
  if (code !== 0) throw new Error(`${PROGRAM} ended with ${code}: ${complaints.slice(-500)}`);
  return output;
}

/**
 * The figure in a line such as `fillseq : 2.532 micros/op 394908 ops/sec 0.506 seconds 200000 operations; ...`. With
 * several threads db_bench's microseconds are one thread's; here they are of the time that passed, as for the others.
 */
export function figureOf(output: string, line: string, op: Op, num: number): Figure {
  const pattern = new RegExp(
    `^${line}\\s*:\\s*[\\d.]+ micros/op (\\d+) ops/sec(?: [\\d.]+ seconds (\\d+) operations)?`,
    "m",
  );
  const match = pattern.exec(output);
  if (match === null) throw new Error(`${PROGRAM} told nothing about ${line}: ${output.slice(-500)}`);
  const opsPerSecond = Number(match[1]);
  return {
    engine: "rocksdb",
    op,
    num,
    us_op: Math.round(1e9 / opsPerSecond) / 1000,
    ops_s: opsPerSecond,
    ...(match[2] === undefined ? {} : { count: Number(match[2]) }),
  };
}
