/**
 * Random work on a store in real files, with the background thread, against a model: for as long as one likes, since the
 * model takes a few bytes a key and nothing an operation.
 *
 * The model is two numbers for each key: the version that was written last, from which the value follows, and the time at
 * which it expires. So what a snapshot shows is a copy of two arrays. Writes go on in windows, many at a time; while
 * they are under way, and compactions run, snapshots and iterators that are older are read and compared.
 */
import { bunBackground } from "../../src/env/bun-background.ts";
import { bunFileSystem } from "../../src/env/bun-fs.ts";
import { consoleLog } from "../../src/env/console-log.ts";
import type { Background } from "../../src/env/env.ts";
import { systemClock } from "../../src/env/system-clock.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import type { DurableEngine, EngineIterator, Snapshot, WriteOptions } from "../../src/storage/engine.ts";
import { openLsm } from "../../src/storage/lsm.ts";
import type { LsmOptions } from "../../src/storage/lsm-options.ts";

export interface SoakOptions {
  readonly directory: string;
  readonly seed: number;
  readonly keys: number;
  readonly engine: Partial<LsmOptions>;
  /** The store is closed and opened again after so many operations. */
  readonly reopenEvery: number;
}

/** Limits at which there is always something to flush and to compact. */
export const SOAK_ENGINE: Partial<LsmOptions> = {
  memtableBytes: 768 * 1024,
  tableBytes: 256 * 1024,
  walFileBytes: 1024 * 1024,
  manifestBytes: 16 * 1024,
  level1Bytes: 2 * 1024 * 1024,
  levelSizeRatio: 4,
  blockCacheBytes: 4 * 1024 * 1024,
};

/** What the store holds at one moment. */
interface Content {
  /** The last version of each key; 0: there is none. */
  readonly versions: Uint32Array;
  /** From which time on it is gone; 0: it stays. */
  readonly expires: Uint32Array;
}

interface HeldSnapshot extends Content {
  readonly snapshot: Snapshot;
}

interface HeldIterator extends Content {
  readonly iterator: EngineIterator;
  readonly reverse: boolean;
  /** The time at which it reads. */
  readonly time: number;
  /** The key after the one it is at, in its direction. */
  next: number;
}

const WINDOW = 48;
const READS = 24;
const VALUE_BYTES_MAX = 6000;
const silent = (): void => {};

export class Soak {
  readonly #options: SoakOptions;
  readonly #random: Random;
  readonly #content: Content;
  readonly #keys: Uint8Array[];
  readonly #value = new Uint8Array(VALUE_BYTES_MAX);
  #background!: Background;
  #engine!: DurableEngine;
  #snapshots: HeldSnapshot[] = [];
  #iterators: HeldIterator[] = [];
  #version = 0;
  #time = 1;
  #sinceOpen = 0;
  /** Operations done: each put, delete, range delete, get, scan, and iterator's advance is one. */
  operations = 0;
  /** Of all lives of the store together. */
  compactions = 0;
  flushes = 0;
  fatal: Error | undefined;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    const { keys } = options;
    this.#content = { versions: new Uint32Array(keys), expires: new Uint32Array(keys) };
    // In the order of their numbers, of different lengths.
    this.#keys = Array.from({ length: keys }, (_, key) =>
      utf8(`soak/${String(key).padStart(8, "0")}${"k".repeat(key % 19)}`),
    );
  }

  get liveKeys(): number {
    let count = 0;
    for (let key = 0; key < this.#keys.length; key++) if (this.#isLive(this.#content, key)) count++;
    return count;
  }

  async open(): Promise<void> {
    this.#background = bunBackground();
    const log = { ...consoleLog("error"), info: silent };
    const env = { fs: bunFileSystem(), background: this.#background, clock: systemClock(), log };
    this.#engine = await openLsm(env, this.#options.directory, {
      ...this.#options.engine,
      onFatal: (error) => {
        this.fatal = error;
      },
    });
    this.#engine.advanceTime(this.#time);
    this.#sinceOpen = 0;
  }

  async close(): Promise<void> {
    for (const held of this.#snapshots.splice(0)) held.snapshot.release();
    for (const held of this.#iterators.splice(0)) held.iterator.close();
    const { compactions, flushes } = this.#engine.stats();
    this.compactions += compactions;
    this.flushes += flushes;
    await this.#engine.close();
    await this.#background.close();
  }

  /** One window of writes, with reads of what is held meanwhile, and reads of what is there after it. */
  async round(): Promise<void> {
    const random = this.#random;
    const writes: Promise<void>[] = [];
    for (let i = random.below(WINDOW); i >= 0; i--) writes.push(this.#write());
    this.#readHeld();
    await Promise.all(writes);
    for (let i = random.below(READS); i >= 0; i--) this.#read(this.#content, undefined);
    if (random.below(40) === 0) this.#scan(this.#content, undefined, 1 + random.below(300));
    if (random.below(30) === 0) this.#holdOrRelease();
    if (random.below(100) === 0) this.#advanceTime();
    if (random.below(3000) === 0) await this.#engine.flush();
    if (this.operations - this.#sinceOpen < this.#options.reopenEvery) return;
    this.#sinceOpen = this.operations;
    await this.close();
    await this.open();
    this.#sinceOpen = this.operations;
  }

  /** Compares everything, both ways. */
  checkAll(): void {
    const { length } = this.#keys;
    for (const reverse of [false, true]) {
      const iterator = this.#engine.iterate({ reverse });
      const held = { ...this.#content, iterator, reverse, time: this.#time, next: reverse ? length - 1 : 0 };
      while (this.#advance(held));
      iterator.close();
    }
  }

  /** Begins a write and notes it: the model is what the store is when all writes have ended. */
  #write(): Promise<void> {
    const random = this.#random;
    this.operations++;
    const options: WriteOptions = { sync: random.below(2000) === 0 };
    const batch = this.#engine.newBatch();
    const kind = random.below(1000);
    if (kind < 2) {
      const first = this.#randomKey();
      const end = Math.min(this.#keys.length - 1, first + random.below(200));
      batch.deleteRange(this.#keys[first]!, this.#keys[end]!);
      for (let key = first; key < end; key++) this.#content.versions[key] = 0;
    } else {
      const count = kind < 100 ? 1 + random.below(30) : 1;
      this.operations += count - 1;
      for (let i = 0; i < count; i++) {
        const key = this.#randomKey();
        if (random.below(6) === 0) {
          batch.delete(this.#keys[key]!);
          this.#content.versions[key] = 0;
        } else {
          const version = ++this.#version;
          const expiresAt = random.below(12) === 0 ? this.#time + 1 + random.below(50) : 0;
          batch.put(this.#keys[key]!, this.#valueOf(key, version), expiresAt);
          this.#content.versions[key] = version;
          this.#content.expires[key] = expiresAt;
        }
      }
    }
    return this.#engine.write(batch, options);
  }

  /** Some keys are written much more often than others. */
  #randomKey(): number {
    const { length } = this.#keys;
    const random = this.#random;
    return random.below(3) === 0 ? random.below(Math.max(1, length >> 6)) : random.below(length);
  }

  #readHeld(): void {
    const random = this.#random;
    for (const held of this.#snapshots) {
      this.#read(held, held.snapshot);
      if (random.below(60) === 0) this.#scan(held, held.snapshot, 1 + random.below(200));
    }
    for (const held of [...this.#iterators]) {
      for (let i = random.below(20); i > 0; i--) {
        this.operations++;
        if (this.#advance(held)) continue;
        held.iterator.close();
        this.#iterators.splice(this.#iterators.indexOf(held), 1);
        break;
      }
    }
  }

  #holdOrRelease(): void {
    const random = this.#random;
    const copy = (): Content => ({
      versions: this.#content.versions.slice(),
      expires: this.#content.expires.slice(),
    });
    if (this.#snapshots.length >= 4) {
      for (const { snapshot } of this.#snapshots.splice(random.below(4), 1)) snapshot.release();
    } else if (random.below(2) === 0) {
      this.#snapshots.push({ ...copy(), snapshot: this.#engine.snapshot() });
    } else if (this.#iterators.length < 2) {
      const reverse = random.below(2) === 0;
      const next = this.#randomKey();
      const from = this.#keys[next]!;
      const iterator = this.#engine.iterate(reverse ? { reverse, lte: from } : { gte: from });
      this.#iterators.push({ ...copy(), iterator, reverse, time: this.#time, next });
    }
  }

  #advanceTime(): void {
    this.#time++;
    this.#engine.advanceTime(this.#time);
  }

  #isLive({ versions, expires }: Content, key: number, time = this.#time): boolean {
    return versions[key] !== 0 && (expires[key] === 0 || expires[key]! > time);
  }

  #read(content: Content, snapshot: Snapshot | undefined): void {
    this.operations++;
    const key = this.#randomKey();
    const found = this.#engine.getSync(this.#keys[key]!, snapshot);
    if (found !== undefined && !this.#isLive(content, key)) this.#wrong(content, key, found, snapshot);
    if (found === undefined && this.#isLive(content, key)) this.#wrong(content, key, found, snapshot);
    if (found !== undefined) this.#checkValue(content, key, found, snapshot);
  }

  /** Reads some keys from a random one on, one way or the other. */
  #scan(content: Content, snapshot: Snapshot | undefined, count: number): void {
    this.operations++;
    const reverse = this.#random.below(2) === 0;
    const next = this.#randomKey();
    const from = this.#keys[next]!;
    const range = reverse ? { reverse, lte: from, snapshot } : { gte: from, snapshot };
    const held = { ...content, iterator: this.#engine.iterate(range), reverse, time: this.#time, next };
    for (let i = 0; i < count && this.#advance(held); i++);
    held.iterator.close();
  }

  /** Moves an iterator on and compares where it gets to; false at the end. */
  #advance(held: HeldIterator): boolean {
    const step = held.reverse ? -1 : 1;
    while (held.next >= 0 && held.next < this.#keys.length && !this.#isLive(held, held.next, held.time))
      held.next += step;
    const { iterator, next } = held;
    const expected = this.#keys[next];
    const isThere = iterator.next();
    if (isThere !== (expected !== undefined) || (isThere && Buffer.compare(iterator.key, expected!) !== 0)) {
      const found = isThere ? Buffer.from(iterator.key).toString() : "the end";
      throw new Error(`iterator: ${found}, expected ${expected && Buffer.from(expected)}; ${this.#where()}`);
    }
    if (!isThere) return false;
    this.#checkValue(held, next, iterator.value, undefined);
    held.next += step;
    return true;
  }

  #checkValue(content: Content, key: number, found: Uint8Array, snapshot: Snapshot | undefined): void {
    if (Buffer.compare(found, this.#valueOf(key, content.versions[key]!)) !== 0)
      this.#wrong(content, key, found, snapshot);
  }

  #wrong(content: Content, key: number, found: Uint8Array | undefined, snapshot?: Snapshot): never {
    const { versions, expires } = content;
    const version =
      found === undefined ? "nothing" : new DataView(found.buffer, found.byteOffset).getUint32(0);
    const expected = `version ${versions[key]}, expiring at ${expires[key]}, time ${this.#time}`;
    const at = snapshot === undefined ? "now" : `in the snapshot ${snapshot.sequence}`;
    throw new Error(`key ${key} ${at}: ${version}, expected ${expected}; ${this.#where()}`);
  }

  #where(): string {
    return `seed ${this.#options.seed}, operation ${this.operations}`;
  }

  /** The value of a version: borrowed until the next call. */
  #valueOf(key: number, version: number): Uint8Array {
    const mixed = Math.imul(version, 0x9e3779b1) >>> 0;
    const length = mixed % 500 === 0 ? VALUE_BYTES_MAX : 8 + (mixed % 190);
    const value = this.#value.subarray(0, length);
    value.fill(mixed & 0xff);
    const head = new DataView(value.buffer, 0, 8);
    head.setUint32(0, version);
    head.setUint32(4, key);
    // The second half does not compress.
    for (let at = length >> 1, word = mixed; at < Math.min(length, 400); at++) {
      word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
      value[at] = word >>> 24;
    }
    return value;
  }
}
