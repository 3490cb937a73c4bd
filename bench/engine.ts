/**
 * `bun run bench:engine`: the storage engine under the lines of db_bench, the benchmark of LevelDB and RocksDB, beside
 * `classic-level` (LevelDB as a user of Bun has it) in the same run, and with `--rocksdb` beside RocksDB's own program.
 *
 * Keys have 16 bytes and values 100, of which a compressor would leave half; nobody compresses. All get a block cache of
 * 64 MiB and 10 bloom bits a key, and are left at their defaults otherwise. The engines see the same keys in the same
 * order. Each engine uses the fastest of its calls that can do a line (`engine/flotilla.ts`, `engine/classic-level.ts`).
 *
 * Lines that share a store make a group (`engine/lines.ts`), and each group of each engine runs in a process of its own.
 * Engines take turns to begin. After a line that fills, its engine is left alone until it is at rest, outside of the
 * clock: so no line pays another's compactions, and those that read find the tree in the shape in which it stays. Lines
 * that read are warmed up (`engine/line.ts`), and all that they count is compared with what the store must hold.
 *
 * Exits with 0, with 1 if an engine failed or answered wrongly, with 2 for a wrong command line.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CommanderError } from "commander";
import type { GroupTask } from "./engine/group-main.ts";
import {
  type EngineName,
  type Figure,
  type Group,
  groupsFor,
  LOAD_GROUP,
  OPS,
  type Op,
} from "./engine/lines.ts";
import { type BenchOptions, parseOptions } from "./engine/options.ts";
import { medianFigure, textReport } from "./engine/report.ts";
import { rocksdbIsThere, runRocksdb } from "./engine/rocksdb.ts";

const BLOCK_CACHE_BYTES = 64 * 1024 * 1024;

process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  let options: BenchOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  if (options.rocksdb && !rocksdbIsThere()) {
    console.error("bench:engine: --rocksdb needs db_bench on the PATH (Debian: rocksdb-tools)");
    return 2;
  }
  if (options.directory !== undefined) mkdirSync(options.directory, { recursive: true });
  const root = mkdtempSync(join(options.directory ?? tmpdir(), "flotilla-bench-engine-"));
  const run = new Run(options);
  try {
    for (let round = 0; round < options.rounds; round++) await oneRound(options, round, root, run);
  } catch (error) {
    console.error(`bench:engine: ${(error as Error).message}`);
    return 1;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  run.finish();
  return 0;
}

/** What was measured so far. With JSON and one round, each figure is told at once. */
class Run {
  readonly #options: BenchOptions;
  readonly #figures = new Map<Op, Map<EngineName, Figure[]>>();

  constructor(options: BenchOptions) {
    this.#options = options;
  }

  add(figure: Figure): void {
    const { json, rounds } = this.#options;
    const line = this.#figures.get(figure.op) ?? new Map<EngineName, Figure[]>();
    this.#figures.set(figure.op, line);
    line.set(figure.engine, [...(line.get(figure.engine) ?? []), figure]);
    if (json && rounds === 1) console.log(JSON.stringify(figure));
    else console.error(`${figure.op.padEnd(16)} ${figure.engine.padEnd(13)} ${figure.us_op} us/op`);
  }

  finish(): void {
    const { json, rounds } = this.#options;
    const ordered = new Map(
      OPS.flatMap((op) => (this.#figures.has(op) ? [[op, this.#figures.get(op)!]] : [])),
    );
    if (!json) {
      console.log(textReport(ordered));
    } else if (rounds > 1) {
      for (const line of ordered.values()) {
        for (const figures of line.values())
          console.log(JSON.stringify({ ...medianFigure(figures), rounds }));
      }
    }
  }
}

async function oneRound(options: BenchOptions, round: number, root: string, run: Run): Promise<void> {
  const { engines, ops } = options;
  // RocksDB's lines run in one piece: every other round before the rest, so that no time of day is its own.
  if (options.rocksdb && round % 2 === 1) await rocksdbRound(options, root, run);
  for (const [index, group] of groupsFor(ops).entries()) {
    for (const engine of (index + round) % 2 === 0 ? engines : engines.toReversed()) {
      const loaded = group.store === "loaded" || group.name === LOAD_GROUP;
      const directory = join(root, engine, loaded ? LOAD_GROUP : group.name);
      await runGroup(options, round, engine, group, directory, run);
      if (!loaded) rmSync(directory, { recursive: true, force: true });
    }
  }
  for (const engine of engines) rmSync(join(root, engine), { recursive: true, force: true });
  if (options.rocksdb && round % 2 === 0) await rocksdbRound(options, root, run);
}

async function rocksdbRound({ num, seed, ops }: BenchOptions, root: string, run: Run): Promise<void> {
  const directory = join(root, "rocksdb");
  const figures = await runRocksdb({ directory, num, seed, blockCacheBytes: BLOCK_CACHE_BYTES, ops });
  for (const figure of figures) run.add(figure);
}

async function runGroup(
  { num, seed, ops, memtableBytes, profileDirectory }: BenchOptions,
  round: number,
  engine: "flotilla" | "classic-level",
  group: Group,
  directory: string,
  run: Run,
): Promise<void> {
  const task: GroupTask = {
    ...{ engine, group: group.name, directory, num, seed, memtableBytes, ops: [...ops] },
    blockCacheBytes: BLOCK_CACHE_BYTES,
  };
  const profile =
    profileDirectory === undefined || engine !== "flotilla"
      ? []
      : [
          ...["--cpu-prof", "--cpu-prof-md", "--cpu-prof-dir", resolve(profileDirectory)],
          ...["--cpu-prof-name", `${group.name}-${round}`],
        ];
  mkdirSync(directory, { recursive: true });
  const child = Bun.spawn(
    [process.execPath, ...profile, join(import.meta.dir, "engine/group-main.ts"), JSON.stringify(task)],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) run.add(JSON.parse(line) as Figure);
  }
  const code = await child.exited;
  if (code !== 0) throw new Error(`${engine} failed in the group ${group.name}: exit code ${code}`);
}
