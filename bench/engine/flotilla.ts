import { type EngineIterator, open, type Store } from "../../src/storage/open.ts";
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

/** Unsynced writes before the writer waits for the last of them: they share one write to the log. */
const WRITES_IN_FLIGHT = 256;

export async function openFlotilla(directory: string, options: ContenderOptions): Promise<Contender> {
  const { blockCacheBytes, memtableBytes } = options;
  const sizes = memtableBytes === undefined ? { blockCacheBytes } : { blockCacheBytes, memtableBytes };
  return new Flotilla(await open(directory, { ...sizes, compression: "none" }));
}

class Flotilla implements Contender {
  readonly api = {
    put: `put, ${WRITES_IN_FLIGHT} in flight`,
    putAwaited: "await put",
    putBatches: `write of ${BATCH_ENTRIES}`,
    putSynced: "put",
    get: "getSync",
    scan: "iterate",
    seek: "iterator.seek",
    getWhileWriting: "getSync, put",
  };
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async put(keys: KeySequence, values: Values, count: number): Promise<void> {
    const key = newKey();
    let last: Promise<void> | undefined;
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      last = this.#store.put(key, values.next(), UNSYNCED);
      // Writes become visible in their order, so the last one's promise speaks for all.
      if (i % WRITES_IN_FLIGHT === WRITES_IN_FLIGHT - 1) await last;
    }
    await last;
  }

  async putAwaited(keys: KeySequence, values: Values, count: number): Promise<void> {
    const key = newKey();
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      await this.#store.put(key, values.next(), UNSYNCED);
    }
  }

  async putBatches(keys: KeySequence, values: Values, count: number): Promise<void> {
    const key = newKey();
    const batch = this.#store.batch();
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      batch.put(key, values.next());
      if (batch.count < BATCH_ENTRIES && i < count - 1) continue;
      await this.#store.write(batch, UNSYNCED);
      batch.clear();
    }
  }

  async putSynced(keys: KeySequence, values: Values, count: number, writers: number): Promise<void> {
    let left = count;
    const writer = async (): Promise<void> => {
      const key = newKey();
      while (left-- > 0) {
        keys.nextInto(key);
        await this.#store.put(key, values.next());
      }
    };
    await Promise.all(Array.from({ length: writers }, writer));
  }

  async get(keys: KeySequence, key: Uint8Array, count: number): Promise<number> {
    let found = 0;
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      if (this.#store.getSync(key) !== undefined) found++;
    }
    return found;
  }

  async scan(limit: number, reverse: boolean): Promise<number> {
    let found = 0;
    const iterator = this.#store.iterate({ limit, reverse });
    while (iterator.next()) if (hasBytes(iterator)) found++;
    return found;
  }

  async seek(keys: KeySequence, count: number): Promise<number> {
    const target = newKey();
    let found = 0;
    using iterator = this.#store.iterate();
    for (let i = 0; i < count; i++) {
      keys.nextInto(target);
      iterator.seek(target);
      if (iterator.next() && hasBytes(iterator)) found++;
    }
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
    let last: Promise<void> | undefined;
    let writes = 0;
    for (let i = 0; i < count; i++) {
      keys.nextInto(key);
      if (this.#store.getSync(key) !== undefined) found++;
      if (i % READS_PER_WRITE === 0) {
        written.nextInto(key);
        last = this.#store.put(key, values.next(), UNSYNCED);
        if (++writes % WRITES_BESIDE_READS === 0) await last;
      }
      if (i % READS_PER_TURN === READS_PER_TURN - 1) await turn();
    }
    await last;
    return found;
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** Whether the entry that an iterator is at has a key and a value. */
function hasBytes({ keyStart, keyEnd, valueStart, valueEnd }: EngineIterator): boolean {
  return keyEnd > keyStart && valueEnd > valueStart;
}

const UNSYNCED = { sync: false };
