/**
 * `bun bench/engine/big-store.ts`: what a large store costs before anything is read from it, and how much memory reads
 * take then. The store is laid out as a long life and a compaction would leave it, all of it in the deepest level, but is
 * written directly, table by table. Then other processes, each with a fresh heap, open it:
 *
 * - how long `open` takes, and the resident memory after it beside that of an empty store;
 * - the same after random gets all over the store, after gets of absent keys, and after a scan;
 * - the same with a small cache and few open tables, which must bound what the reads may take.
 *
 * The operating system keeps the file in its own cache where there is memory for it; that is not resident memory of the
 * process, and not counted.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { bunFileSystem } from "../../src/env/bun-fs.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { Entry } from "../../src/storage/cursor.ts";
import { LSM_DEFAULTS, lsmOptions, tableOptions } from "../../src/storage/lsm-options.ts";
import { ManifestWriter, metaOf, type TableMeta } from "../../src/storage/manifest.ts";
import { open } from "../../src/storage/open.ts";
import { TableWriter } from "../../src/storage/table-writer.ts";

const MEBIBYTE = 1024 * 1024;
const KEY_BYTES = 16;
const DEEPEST_LEVEL = 6;
/** Reads between two measurements of the memory. */
const READS_A_STEP = 50_000;

const { values: options } = parseArgs({
  options: {
    gb: { type: "string", default: "10" },
    "value-bytes": { type: "string", default: "1000" },
    reads: { type: "string", default: "500000" },
    dir: { type: "string", default: "/tmp/flotilla-big-store" },
    keep: { type: "boolean", default: false },
    /** What a process of its own is started for. */
    measure: { type: "string" },
    "cache-mib": { type: "string", default: String(LSM_DEFAULTS.blockCacheBytes / MEBIBYTE) },
    "open-tables": { type: "string", default: String(LSM_DEFAULTS.openTables) },
  },
});
const directory = options.dir;
const valueBytes = Number(options["value-bytes"]);
const keys = Math.max(1, Math.round((Number(options.gb) * 1e9) / (valueBytes + KEY_BYTES)));

if (options.measure !== undefined) await measure(options.measure);
else await main();

async function main(): Promise<void> {
  if (!existsSync(`${directory}/CURRENT`)) await build();
  const bytes = new Bun.Glob("*.table").scanSync({ cwd: directory });
  const total = [...bytes].reduce((sum, name) => sum + Bun.file(`${directory}/${name}`).size, 0);
  console.log(`${keys} keys of ${KEY_BYTES} bytes, values of ${valueBytes}: ${(total / 1e9).toFixed(2)} GB`);
  const empty = `${directory}-empty`;
  rmSync(empty, { recursive: true, force: true });
  run("an empty store", empty, LSM_DEFAULTS.blockCacheBytes / MEBIBYTE, LSM_DEFAULTS.openTables, "open");
  run("defaults", directory, LSM_DEFAULTS.blockCacheBytes / MEBIBYTE, LSM_DEFAULTS.openTables, "reads");
  run("a cache of 8 MiB, 32 open tables", directory, 8, 32, "reads");
  rmSync(empty, { recursive: true, force: true });
  if (!options.keep) rmSync(directory, { recursive: true, force: true });
}

function run(name: string, dir: string, cacheMib: number, openTables: number, what: string): void {
  console.log(`${name}:`);
  const child = Bun.spawnSync(
    [
      process.execPath,
      import.meta.path,
      `--measure=${what}`,
      `--dir=${dir}`,
      `--gb=${options.gb}`,
      `--value-bytes=${valueBytes}`,
      `--reads=${options.reads}`,
      `--cache-mib=${cacheMib}`,
      `--open-tables=${openTables}`,
    ],
    { stdout: "inherit", stderr: "inherit" },
  );
  if (child.exitCode !== 0) throw new Error(`the process that measures ended with ${child.exitCode}`);
}

/** Writes the tables and the manifest. */
async function build(): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const fs = bunFileSystem();
  const table = tableOptions(lsmOptions({}), DEEPEST_LEVEL);
  const random = seededRandom(1);
  const noise = Uint8Array.from({ length: 1 << 16 }, () => random.below(256));
  const entry = new Entry();
  entry.keyBytes = new Uint8Array(KEY_BYTES);
  entry.keyEnd = KEY_BYTES;
  entry.valueBytes = noise;
  const tables: TableMeta[] = [];
  let writer: TableWriter | undefined;
  for (let i = 0; i < keys; i++) {
    writer ??= new TableWriter(fs, directory, tables.length + 1, table);
    keyInto(entry.keyBytes, 2 * i);
    entry.sequence = i + 1;
    entry.valueStart = random.below(noise.length - valueBytes);
    entry.valueEnd = entry.valueStart + valueBytes;
    writer.add(entry);
    if (writer.byteLength < LSM_DEFAULTS.tableBytes && i < keys - 1) continue;
    tables.push(metaOf(writer.finish(), DEEPEST_LEVEL));
    writer = undefined;
  }
  const number = tables.length + 1;
  const state = { nextFileNumber: number + 1, lastSequence: keys, flushedRecord: 0, tables };
  const manifest = await ManifestWriter.create(fs, directory, number, state);
  manifest.close();
}

async function measure(what: string): Promise<void> {
  const start = performance.now();
  await using store = await open(directory, {
    blockCacheBytes: Number(options["cache-mib"]) * MEBIBYTE,
    openTables: Number(options["open-tables"]),
  });
  report(`open: ${(performance.now() - start).toFixed(0)} ms, ${store.stats().tables} tables`);
  if (what === "open") return;
  const random = seededRandom(2);
  const key = new Uint8Array(KEY_BYTES);
  const reads = (name: string, odd: 0 | 1): void => {
    let took = 0;
    for (let done = 0; done < Number(options.reads); done += READS_A_STEP) {
      const begin = performance.now();
      for (let i = 0; i < READS_A_STEP; i++) {
        keyInto(key, 2 * random.below(keys) + odd);
        if ((store.getSync(key) === undefined) !== (odd === 1)) throw new Error(`${name}: a wrong answer`);
      }
      took += performance.now() - begin;
    }
    report(`${options.reads} ${name}: ${((took * 1000) / Number(options.reads)).toFixed(2)} us each`);
  };
  reads("gets", 0);
  reads("gets of absent keys", 1);
  const begin = performance.now();
  let entries = 0;
  using iterator = store.iterate({});
  while (entries < Number(options.reads) && iterator.next()) entries++;
  report(
    `scan of ${entries} entries: ${(((performance.now() - begin) * 1000) / entries).toFixed(2)} us each`,
  );
}

function report(text: string): void {
  Bun.gc(true);
  const resident = process.memoryUsage.rss() / MEBIBYTE;
  const files = readdirSync("/proc/self/fd").length;
  console.log(`  ${text}; ${resident.toFixed(0)} MiB resident, ${files} open files`);
}

/** The decimal digits of `n`. */
function keyInto(key: Uint8Array, n: number): void {
  let rest = n;
  for (let i = KEY_BYTES - 1; i >= 0; i--) {
    key[i] = 48 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}
