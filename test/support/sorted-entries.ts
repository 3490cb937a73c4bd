import type { Random } from "../../src/lib/prng.ts";
import { type Cursor, Entry } from "../../src/storage/cursor.ts";

/** An entry as the engine orders it: by key, then the highest sequence number first. */
export interface TestEntry {
  readonly key: Uint8Array;
  readonly sequence: number;
  /** `undefined`: a tombstone. */
  readonly value: Uint8Array | undefined;
}

/** The entry in the engine's form; its bytes are the test entry's. */
export function entryOf({ key, sequence, value }: TestEntry): Entry {
  const entry = new Entry();
  entry.keyBytes = key;
  entry.keyEnd = key.length;
  entry.sequence = sequence;
  entry.tombstone = value === undefined;
  if (value !== undefined) {
    entry.valueBytes = value;
    entry.valueEnd = value.length;
  }
  return entry;
}

/** What an entry says that its key's value is: a view; `undefined` for none. */
export function valueIn(entry: Entry | undefined): Uint8Array | undefined {
  return entry === undefined || entry.tombstone
    ? undefined
    : entry.valueBytes.subarray(entry.valueStart, entry.valueEnd);
}

/** Random entries in inner order: few different keys, with several versions, some of them tombstones. */
export function randomEntries(random: Random, count: number): TestEntry[] {
  const entries: TestEntry[] = [];
  for (let i = 0; i < count; i++) {
    const key = Buffer.from(`${"prefix".slice(0, random.below(7))}${random.below(count)}`);
    const value = random.below(5) === 0 ? undefined : new Uint8Array(random.below(200)).fill(i);
    entries.push({ key, sequence: i + 1, value });
  }
  return entries.sort(compareEntries);
}

export function compareEntries(a: TestEntry, b: TestEntry): number {
  return Buffer.compare(a.key, b.key) || b.sequence - a.sequence;
}

/** What a cursor is at, as text; `end` if at nothing. */
export function describe(cursor: Cursor): string {
  if (!cursor.valid) return "end";
  const { keyBytes, keyStart, keyEnd, sequence, tombstone, valueBytes, valueStart, valueEnd } = cursor.entry;
  const value = tombstone ? undefined : valueBytes.slice(valueStart, valueEnd);
  return text({ key: keyBytes.slice(keyStart, keyEnd), sequence, value });
}

export function text({ key, sequence, value }: TestEntry): string {
  return `${Buffer.from(key).toString("latin1")}@${sequence}=${value === undefined ? "-" : Buffer.from(value).toString("hex")}`;
}

/** Throws unless `cursor`, which has exactly `entries`, moves as it should: both ways, and from every place sought. */
export function checkCursor(cursor: Cursor, entries: readonly TestEntry[]): void {
  const same = (actual: string, expected: TestEntry | undefined, what: string): void => {
    const wanted = expected === undefined ? "end" : text(expected);
    if (actual !== wanted) throw new Error(`${what}: the cursor is at ${actual}, expected ${wanted}`);
  };
  cursor.seekToFirst();
  for (const entry of entries) {
    same(describe(cursor), entry, "next");
    cursor.next();
  }
  same(describe(cursor), undefined, "next");
  cursor.seekToLast();
  for (const entry of [...entries].reverse()) {
    same(describe(cursor), entry, "prev");
    cursor.prev();
  }
  same(describe(cursor), undefined, "prev");
  const sought = entries.flatMap(({ key, sequence }) => [
    { key, sequence },
    { key, sequence: sequence + 1 },
    { key, sequence: sequence - 1 },
    { key: Buffer.concat([key, Buffer.of(0)]), sequence: 1 },
    { key: key.subarray(0, -1), sequence },
  ]);
  for (const { key, sequence } of [...sought, { key: Buffer.from("zz"), sequence: 1 }]) {
    const target = { key, sequence, value: undefined };
    cursor.seek(key, sequence);
    const at = entries.findIndex((entry) => compareEntries(entry, target) >= 0);
    same(describe(cursor), entries[at], `seek ${text(target)}`);
    if (cursor.valid) cursor.next();
    same(describe(cursor), at < 0 ? undefined : entries[at + 1], `next after seek ${text(target)}`);
    cursor.seekBefore(key);
    const last = entries.findLastIndex((entry) => Buffer.compare(entry.key, key) < 0);
    same(describe(cursor), entries[last], `seekBefore ${text(target)}`);
    if (cursor.valid) cursor.prev();
    same(describe(cursor), last < 0 ? undefined : entries[last - 1], `prev after seekBefore ${text(target)}`);
  }
}
