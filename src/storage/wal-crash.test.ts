/**
 * The power fails at every single operation of random runs of the log, again while it recovers, and again in what goes
 * on from there: with files that are used again, allocated ahead and removed. What is read back is always all that was
 * promised, and a beginning of what was written.
 */
import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import { FileError } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import { readU32 } from "./fixed-width.ts";
import { Wal } from "./wal.ts";
import { type RecoveredWal, replayWal, surveyWal } from "./wal-recovery.ts";
import { EncodedBatch, OPERATION_HEADER_BYTES } from "./write-batch.ts";

const SEED = testSeed("wal-crash") % 1_000_000;
const RUNS = Number(process.env.RUNS ?? 6);

/** What has to survive, whatever the disk does; a manifest would know the last three. */
class Promises {
  /** Writes that were begun. Each has one key, its number. */
  begun = 0;
  /** Writes up to here were told to be durable. */
  durable = 0;
  /** Writes up to here are in tables, and so are records. */
  flushed = 0;
  flushedRecord = 0;
  nextFileNumber = 1;
}

function keysOf(bytes: Uint8Array, start: number, end: number): number[] {
  const keys: number[] = [];
  for (let at = start; at < end; ) {
    const keyAt = at + OPERATION_HEADER_BYTES;
    const keyEnd = keyAt + readU32(bytes, at + 1);
    keys.push(Number(Buffer.from(bytes.subarray(keyAt, keyEnd)).toString()));
    at = keyEnd + readU32(bytes, at + 5);
  }
  return keys;
}

function walNumbers(fs: MemoryFileSystem): number[] {
  const names = fs.list("/d").filter((name) => name.endsWith(".wal"));
  return names.map((name) => Number.parseInt(name, 10));
}

/** As the engine does it. Leaves in `promises` what the store is from now on. */
async function recover(fs: MemoryFileSystem, promises: Promises): Promise<RecoveredWal> {
  const numbers = walNumbers(fs);
  const survey = surveyWal(fs, "/d", numbers, promises.flushedRecord);
  let found = promises.flushed;
  await replayWal(fs, "/d", survey, promises.flushedRecord, (bytes, start, end) => {
    for (const key of keysOf(bytes, start, end)) expect(key).toBe(++found);
    return undefined;
  });
  expect(found).toBeGreaterThanOrEqual(promises.durable);
  expect(found).toBeLessThanOrEqual(promises.begun);
  promises.nextFileNumber = Math.max(promises.nextFileNumber, 1 + Math.max(0, ...numbers));
  const needed = new Set(survey.files.map(({ number }) => number));
  for (const number of numbers) {
    if (!needed.has(number)) fs.remove(`/d/${String(number).padStart(6, "0")}.wal`);
  }
  for (const name of fs.list("/d")) if (name.endsWith(".tmp")) fs.remove(`/d/${name}`);
  await fs.syncDirectory("/d");
  promises.begun = found;
  promises.durable = found;
  return survey;
}

/** Works with the log until it is through or the disk is gone. */
async function work(fs: MemoryFileSystem, seed: number, promises: Promises): Promise<void> {
  const random = seededRandom(seed);
  const recovered = await recover(fs, promises);
  let visible = promises.begun;
  let nextFileNumber = promises.nextFileNumber;
  const pause = async (): Promise<void> => {
    for (let turns = random.below(3); turns > 0; turns--)
      await new Promise((resolve) => setImmediate(resolve));
  };
  let failure: unknown;
  const env = { fs, clock: systemClock(), background: inlineBackground(fs, pause) };
  const options = { fileBytes: 400 + 300 * (seed % 4), spareFiles: seed % 5 === 0 ? 0 : 1 + (seed % 2) };
  const wal = new Wal(env, "/d", options, recovered, {
    newFileNumber: () => nextFileNumber++,
    apply: (bytes, start, end) => {
      for (const key of keysOf(bytes, start, end)) expect(key).toBe(++visible);
    },
    applied: () => {},
    ready: () => (failure === undefined ? undefined : Promise.reject(failure)),
    failed: (error) => {
      failure ??= error;
      return error as Error;
    },
  });
  const write = (sync: boolean): Promise<void> => {
    const batch = new EncodedBatch();
    const number = ++promises.begun;
    batch.put(utf8(String(number)), new Uint8Array(random.below(random.below(8) === 0 ? 900 : 90)));
    return wal.write(batch, sync).then(() => {
      if (sync) promises.durable = Math.max(promises.durable, number);
    });
  };
  const underWay: Promise<void>[] = [];
  for (let i = 0; i < 40; i++) {
    switch (random.below(6)) {
      case 0:
        await Promise.all([write(true), write(false), write(true)]);
        break;
      case 1:
        await write(false);
        break;
      case 2:
        underWay.push(write(random.below(2) === 0).catch(() => {}));
        break;
      case 3:
        // What is visible is in tables now, durably.
        promises.flushed = visible;
        promises.durable = Math.max(promises.durable, visible);
        promises.flushedRecord = wal.lastRecord;
        promises.nextFileNumber = nextFileNumber;
        wal.removeFlushed(wal.lastRecord);
        break;
      default:
        await write(true);
    }
  }
  await Promise.all(underWay);
  await wal.close();
}

/** How often a spare file was made, and one of either kind was used again. */
const seen = { made: 0, used: 0 };

/** Lets the disk die at its operation number `at`; the result tells what is left, once it happened. */
function crashAt(fs: MemoryFileSystem, at: number, random: Random): () => MemoryFileSystem | undefined {
  let count = 0;
  let survivor: MemoryFileSystem | undefined;
  fs.onOperation = (operation, path) => {
    if (operation === "create" && path.includes("spare")) seen.made++;
    if (operation === "rename" && path.includes("spare")) seen.used++;
    if (++count !== at) return;
    survivor = fs.crash(random);
    throw new FileError("EIO", `${path}: the power failed`);
  };
  return () => survivor;
}

test("a crash at every disk operation of a run, and of what goes on from there", async () => {
  let crashes = 0;
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    for (let at = 1; ; at++) {
      const random = seededRandom(seed * 100_003 + at);
      const promises = new Promises();
      let disk = new MemoryFileSystem();
      try {
        const survivor = crashAt(disk, at, random);
        const failure = await work(disk, seed, promises).then(
          () => undefined,
          (error: Error) => error,
        );
        if (survivor() === undefined) {
          if (failure !== undefined) throw failure;
          for (const name of disk.list("/d")) expect(name).toMatch(/\.wal$/);
          break;
        }
        disk = survivor()!;
        crashes++;
        for (let life = 1; life <= 3; life++) {
          const again = crashAt(disk, 1 + random.below(life === 2 ? 8 : 60), random);
          await work(disk, seed + life, promises).catch((error: Error) => {
            if (again() === undefined) throw error;
          });
          disk = again() ?? disk.crash(random);
        }
        await recover(disk, promises);
      } catch (error) {
        throw new Error(`SEED=${seed} RUNS=1, operation ${at}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    }
  }
  expect(crashes).toBeGreaterThan(RUNS * 50);
  expect(seen.made).toBeGreaterThan(RUNS * 10);
  expect(seen.used).toBeGreaterThan(RUNS * 100);
}, 120_000);
