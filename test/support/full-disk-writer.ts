/**
 * Fills the small file system that it is given with an embedded store, makes room again, and checks what became of every
 * write. Prints one line at the end, or fails.
 */
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { open, StorageError, type Store } from "../../src/storage/open.ts";
import { eventually } from "./eventually.ts";

const BALLAST_BYTES = 1 << 20;
const OPTIONS = {
  memtableBytes: 128 * 1024,
  tableBytes: 64 * 1024,
  walFileBytes: 128 * 1024,
  level1Bytes: 256 * 1024,
  retryMs: 10,
};

const directory = process.argv[2]!;
const ballast = join(directory, "ballast");
const file = openSync(ballast, "wx");
writeSync(file, new Uint8Array(BALLAST_BYTES));
closeSync(file);

/** What each key has to have. */
const expected = new Map<string, string>();
let number = 0;
let refused = 0;

/** A batch of a random number of large values; false if there was no room for it. */
async function write(store: Store): Promise<boolean> {
  const batch = store.batch();
  const changes = Array.from({ length: 1 + (++number % 5) }, (_, index): [string, string] => [
    `key${(number * 7 + index) % 900}`,
    `${number}.${index}.${"v".repeat((number * 37) % 4000)}`,
  ]);
  for (const [key, value] of changes) batch.put(utf8(key), utf8(value));
  try {
    await store.write(batch);
  } catch (error) {
    if (!(error instanceof StorageError && error.code === "READ_ONLY")) throw error;
    refused++;
    return false;
  }
  for (const [key, value] of changes) expected.set(key, value);
  return true;
}

async function check(store: Store): Promise<void> {
  const keys = [...expected.keys()].sort();
  let index = 0;
  for await (const [key, value] of store.scan()) {
    const name = fromUtf8(key);
    if (name !== keys[index] || fromUtf8(value) !== expected.get(name))
      throw new Error(`the store has ${name}, expected ${keys[index]}, or another value`);
    index++;
  }
  if (index !== keys.length) throw new Error(`the store ends before ${keys[index]}`);
}

const store = await open(join(directory, "store"), OPTIONS);
while (await write(store));
const whenFull = number;
for (let i = 0; i < 20; i++) await write(store);
await check(store);
rmSync(ballast);
await eventually("a write after there was room again", 20_000, () => write(store));
for (let i = 0; i < 20; i++) await write(store);
await check(store);
await store.close();
const again = await open(join(directory, "store"), OPTIONS);
await check(again);
await again.close();
console.log(`full after ${whenFull} batches, ${refused} refused, ${expected.size} keys`);
