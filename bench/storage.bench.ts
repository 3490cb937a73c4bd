/** The LSM engine's paths: 16-byte keys, 100-byte values. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bench, do_not_optimize, group } from "mitata";
import { bunBackground } from "../src/env/bun-background.ts";
import { bunFileSystem } from "../src/env/bun-fs.ts";
import { consoleLog } from "../src/env/console-log.ts";
import { systemClock } from "../src/env/system-clock.ts";
import { seededRandom } from "../src/lib/prng.ts";
import { Block, BlockCursor } from "../src/storage/block.ts";
import { BlockBuilder } from "../src/storage/block-builder.ts";
import { bloomBytes, bloomHash, bloomMayContain, writeBloom } from "../src/storage/bloom.ts";
import { Entry, SEQUENCE_MAX } from "../src/storage/cursor.ts";
import type { Engine, WriteBatch } from "../src/storage/engine.ts";
import { openLsm } from "../src/storage/lsm.ts";
import { Memtable } from "../src/storage/memtable.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "../src/storage/write-batch.ts";

const KEYS = 100_000;
const VALUE = new Uint8Array(100).fill(0x76);

export async function register(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-bench-"));
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  const random = seededRandom(1);
  const keys = Array.from({ length: KEYS }, (_, n) => keyOf(n));
  const absent = Array.from({ length: KEYS }, (_, n) => keyOf(n + KEYS));
  const order = Uint32Array.from({ length: 1 << 16 }, () => random.below(KEYS));
  let turn = 0;
  const next = (): number => order[turn++ & 0xffff]!;

  registerMemtable(keys, next);
  registerBlock(keys.slice(0, 30));
  registerBloom(keys, absent, next);
  await registerWal(directory, keys, next);
  await registerTables(directory, keys, absent, next);
}

/** Spread over the key space, so that neighbours in time are not neighbours in order. */
function keyOf(n: number): Uint8Array {
  return Buffer.from(`key:${String((n * 2_654_435_761) % 2 ** 32).padStart(12, "0")}`);
}

function registerMemtable(keys: readonly Uint8Array[], next: () => number): void {
  const batch = new EncodedBatch();
  const put = (memtable: Memtable, key: Uint8Array, sequence: number): void => {
    batch.clear();
    batch.put(key, VALUE);
    memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, 1, sequence);
  };
  const full = new Memtable(32 << 20);
  for (const [n, key] of keys.entries()) put(full, key, n + 1);
  let growing = new Memtable(32 << 20);
  let sequence = 0;
  group("memtable", () => {
    bench("memtable: put, up to 100,000 entries", () => {
      if (growing.count === KEYS) growing = new Memtable(32 << 20);
      put(growing, keys[next()]!, ++sequence);
    });
    bench("memtable: get, of 100,000 entries", () => {
      do_not_optimize(full.get(keys[next()]!, SEQUENCE_MAX, 0));
    });
  });
}

function registerBlock(keys: readonly Uint8Array[]): void {
  const sorted = [...keys].sort(Buffer.compare);
  const builder = new BlockBuilder(16);
  const entry = new Entry();
  entry.valueBytes = VALUE;
  entry.valueEnd = VALUE.length;
  const build = (): Uint8Array => {
    for (const [n, key] of sorted.entries()) {
      entry.keyBytes = key;
      entry.keyEnd = key.length;
      entry.sequence = n + 1;
      builder.add(entry);
    }
    return builder.finish();
  };
  const cursor = new BlockCursor();
  cursor.reset(new Block(build().slice()));
  let turn = 0;
  group("block", () => {
    bench("block: build, 30 entries, 4 KiB", () => do_not_optimize(build()));
    bench("block: search", () => {
      cursor.seek(sorted[turn++ % sorted.length]!, SEQUENCE_MAX);
      do_not_optimize(cursor.entry.valueStart);
    });
  });
}

function registerBloom(keys: readonly Uint8Array[], absent: readonly Uint8Array[], next: () => number): void {
  const hashes = Uint32Array.from(keys, bloomHash);
  const filter = new Uint8Array(bloomBytes(hashes.length, 10));
  writeBloom(filter, 0, hashes, hashes.length, 10);
  group("bloom", () => {
    bench("bloom: hash and probe, present", () =>
      do_not_optimize(bloomMayContain(filter, 0, filter.length, bloomHash(keys[next()]!))),
    );
    bench("bloom: hash and probe, absent", () =>
      do_not_optimize(bloomMayContain(filter, 0, filter.length, bloomHash(absent[next()]!))),
    );
  });
}

function openEngine(directory: string): Promise<Engine> {
  const env = {
    fs: bunFileSystem(),
    background: bunBackground(),
    clock: systemClock(),
    log: consoleLog("warn"),
  };
  return openLsm(env, directory);
}

async function registerWal(
  directory: string,
  keys: readonly Uint8Array[],
  next: () => number,
): Promise<void> {
  const engine = await openEngine(join(directory, "wal"));
  const batches = Array.from({ length: 64 }, () => engine.newBatch());
  const write = (batch: WriteBatch, sync: boolean): Promise<void> => {
    batch.clear();
    batch.put(keys[next()]!, VALUE);
    return engine.write(batch, { sync });
  };
  group("wal", () => {
    bench("wal: append without sync", () => write(batches[0]!, false));
    bench("wal: append and fdatasync", () => write(batches[0]!, true));
    bench("wal: 64 writers share an fdatasync", () =>
      Promise.all(batches.map((batch) => write(batch, true))),
    );
  });
}

async function registerTables(
  directory: string,
  keys: readonly Uint8Array[],
  absent: readonly Uint8Array[],
  next: () => number,
): Promise<void> {
  const engine = await openEngine(join(directory, "tables"));
  const batch = engine.newBatch();
  // Three overlapping runs, as merges meet them.
  for (let run = 0; run < 3; run++) {
    for (let n = run; n < KEYS; n += 3) {
      batch.clear();
      batch.put(keys[n]!, VALUE);
      engine.writeUnlogged(batch);
    }
    await engine.flush();
  }
  let iterator = engine.iterate({});
  group("table", () => {
    bench("table: get, hit", () => do_not_optimize(engine.getSync(keys[next()]!)));
    bench("table: get, miss", () => do_not_optimize(engine.getSync(absent[next()]!)));
    bench("merge scan: next of 3 tables", () => {
      if (!iterator.next()) {
        iterator = engine.iterate({});
        iterator.next();
      }
      do_not_optimize(iterator.value);
    });
  });
}
