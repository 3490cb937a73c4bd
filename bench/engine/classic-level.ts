/**
 * LevelDB as a user of Bun has it, each line by the fastest of the calls that can do it. Microseconds an operation with
 * 200,000 keys, all in one sitting (Bun 1.4.4, two cores):
 *
 * - writes of one entry: `put` awaited one by one 14; 16 in flight 5.6; 64 in flight 5.2; 1000 in flight 4.4. Taken: 1000.
 * - batches: `batch([...])` of 1000 1.9; `batch().put(...)` of 100 1.6, of 1000 1.1, of 10,000 1.3. Taken: chained, 1000.
 * - synced writes, 64 at a time: 140 to 200, whichever call makes them: LevelDB shares a sync among threads that wait
 *   at the same time, and the pool has few. Taken: `put`.
 * - reads: `getSync` 2.4, `getMany` of 100 2.8, of 1000 2.3, `get` awaited 15. Taken: `getSync`.
 * - scans: `nextv(1000)` with room for 1 MiB 0.5, with the default 16 KiB 0.6, `next` 0.75, `for await` 0.8. Taken: the first.
 * - seeks: `seek` and `nextv(1)` on one iterator 16, a new iterator for each 23; on 8 iterators at a time 11, on 64 9.
 *   Taken: 64 at a time, though no single caller gets an answer that fast.
 */
import { ClassicLevel } from "classic-level";
import {
  BATCH_ENTRIES,
  type Contender,
  type ContenderOptions,
  READS_PER_TURN,
  READS_PER_WRITE,
  turn,
  WRITES_BESIDE_READS,
} from "./contender.ts";
import { type KeySequence, newKey, type Values } from "./data.ts";

const WRITES_IN_FLIGHT = 1000;
const ITERATORS = 64;
const ENTRIES_PER_CALL = 1000;
const BYTES_PER_CALL = 1024 * 1024;

type Level = ClassicLevel<Uint8Array, Uint8Array>;

export async function openClassicLevel(directory: string, options: ContenderOptions): Promise<Contender> {
  const { blockCacheBytes, memtableBytes } = options;
  const level: Level = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
    keyEncoding: "view",
    valueEncoding: "view",
    compression: false,
    cacheSize: blockCacheBytes,
    ...(memtableBytes === undefined ? {} : { writeBufferSize: memtableBytes }),
  });
  await level.open();
  return new Classic(level);
}

class Classic implements Contender {
  readonly api = {
    put: `put, ${WRITES_IN_FLIGHT} in flight`,
    putAwaited: "await put",
    putBatches: `chained batch of ${BATCH_ENTRIES}`,
    putSynced: "put",
    get: "getSync",
    scan: `nextv(${ENTRIES_PER_CALL})`,
    seek: `seek, nextv(1), ${ITERATORS} iterators at a time`,
    getWhileWriting: "getSync, put",
  };
  readonly #level: Level;

  constructor(level: Level) {
    this.#level = level;
  }

  async put(keys: KeySequence, values: Values, count: number): Promise<void> {
    // The binding copies key and value before `put` returns.
    const key = newKey();
    let pending: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      pending.push(this.#level.put(key, values.next()));
      if (pending.length < WRITES_IN_FLIGHT) continue;
      await Promise.all(pending);
      pending = [];
    }
    await Promise.all(pending);
  }

  async putAwaited(keys: KeySequence, values: Values, count: number): Promise<void> {
    const key = newKey();
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      await this.#level.put(key, values.next());
    }
  }

  async putBatches(keys: KeySequence, values: Values, count: number): Promise<void> {
    const key = newKey();
    let batch = this.#level.batch();
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      batch.put(key, values.next());
      if (batch.length < BATCH_ENTRIES) continue;
      await batch.write();
      batch = this.#level.batch();
    }
    await batch.write();
  }

  async putSynced(keys: KeySequence, values: Values, count: number, writers: number): Promise<void> {
    let left = count;
    const writer = async (): Promise<void> => {
      const key = newKey();
      while (left-- > 0) {
        keys.nextInto(key);
        await this.#level.put(key, values.next(), SYNCED);
      }
    };
    await Promise.all(Array.from({ length: writers }, writer));
  }

  async get(keys: KeySequence, key: Uint8Array, count: number): Promise<number> {
    let found = 0;
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      if (this.#level.getSync(key) !== undefined) found++;
    }
    return found;
  }

  async scan(limit: number, reverse: boolean): Promise<number> {
    const iterator = this.#level.iterator({ limit, reverse, highWaterMarkBytes: BYTES_PER_CALL });
    let found = 0;
    for (;;) {
      const entries = await iterator.nextv(ENTRIES_PER_CALL);
      if (entries.length === 0) break;
      for (const [key, value] of entries) if (key.length > 0 && value.length > 0) found++;
    }
    await iterator.close();
    return found;
  }

  async seek(keys: KeySequence, count: number): Promise<number> {
    let left = count;
    let found = 0;
    const seeker = async (): Promise<void> => {
      const target = newKey();
      const iterator = this.#level.iterator();
      while (left-- > 0) {
        keys.nextInto(target);
        iterator.seek(target);
        for (const [key, value] of await iterator.nextv(1)) if (key.length > 0 && value.length > 0) found++;
      }
      await iterator.close();
    };
    await Promise.all(Array.from({ length: ITERATORS }, seeker));
    return found;
  }

  async getWhileWriting(
    keys: KeySequence,
    written: KeySequence,
    values: Values,
    count: number,
  ): Promise<number> {
    const key = newKey();
    let found = 0;
    let pending: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      if (this.#level.getSync(key) !== undefined) found++;
      if (i % READS_PER_WRITE === 0) {
        written.nextInto(key);
        pending.push(this.#level.put(key, values.next()));
        if (pending.length === WRITES_BESIDE_READS) {
          await Promise.all(pending);
          pending = [];
        }
      }
      if (i % READS_PER_TURN === READS_PER_TURN - 1) await turn();
    }
    await Promise.all(pending);
    return found;
  }

  close(): Promise<void> {
    return this.#level.close();
  }
}

const SYNCED = { sync: true };
