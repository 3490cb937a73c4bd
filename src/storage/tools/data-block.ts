import { assert } from "../../lib/assert.ts";
import { compareBytes } from "../../lib/bytes.ts";
import { type Block, BlockCursor } from "../block.ts";
import type { Entry } from "../cursor.ts";
import { readU32, readU64 } from "../fixed-width.ts";
import { BLOCK_POINTER_BYTES, type BlockPointer } from "../table-format.ts";

/** An entry of a data block, with a key of its own. */
export interface DataEntry {
  readonly key: Uint8Array;
  readonly sequence: number;
  readonly tombstone: boolean;
  /** 0: it stays. */
  readonly expiresAt: number;
  /** Borrowed from the block. */
  readonly value: Uint8Array;
}

/** The entries of a block. Throws where they don't add up. */
export function* entriesOf(block: Block): Generator<DataEntry, void, void> {
  const cursor = new BlockCursor();
  cursor.reset(block);
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) yield dataEntry(cursor.entry);
}

function dataEntry(entry: Entry): DataEntry {
  const { keyBytes, keyStart, keyEnd, sequence, tombstone, expiresAt } = entry;
  return {
    key: keyBytes.slice(keyStart, keyEnd),
    sequence,
    tombstone,
    expiresAt,
    value: entry.valueBytes.subarray(entry.valueStart, entry.valueEnd),
  };
}

/** The block, if it has entries, in order; throws otherwise. */
export function checkDataBlock(block: Block): Block {
  assert(
    block.restartCount > 0 && block.restart(0) === 0,
    "a data block does not begin with a restart point",
  );
  let last: DataEntry | undefined;
  for (const entry of entriesOf(block)) {
    assert(last === undefined || isBehind(entry, last), "the entries of a data block are not in order");
    last = entry;
  }
  assert(last !== undefined, "a data block has no entries");
  return block;
}

/** The inner order: by key, and the newer version of a key first. */
export function isBehind(entry: DataEntry, before: DataEntry): boolean {
  const order = compareBytes(entry.key, before.key);
  return order > 0 || (order === 0 && entry.sequence < before.sequence);
}

/** The last key of a block with entries; owned by the caller. */
export function lastKeyOf(block: Block): Uint8Array {
  const cursor = new BlockCursor();
  cursor.reset(block);
  cursor.seekToLast();
  return dataEntry(cursor.entry).key;
}

/** An entry of an index: up to which key a block reaches, and where it is. */
export interface IndexEntry {
  readonly separator: Uint8Array;
  readonly sequence: number;
  readonly at: BlockPointer;
}

/** The entries of an index. Throws unless they are in order and point to blocks one behind the other, before `end`. */
export function indexEntries(index: Block, end: number): IndexEntry[] {
  const entries: IndexEntry[] = [];
  let last: DataEntry | undefined;
  let previousEnd = 0;
  for (const entry of entriesOf(index)) {
    const { key: separator, sequence, value } = entry;
    assert(value.length === BLOCK_POINTER_BYTES, "an index entry is no block pointer");
    assert(last === undefined || isBehind(entry, last), "the entries of an index are not in order");
    const at = { offset: readU64(value, 0), length: readU32(value, 8) };
    assert(
      at.offset >= previousEnd && at.offset + at.length < end,
      `an index points to ${at.offset}+${at.length}`,
    );
    entries.push({ separator, sequence, at });
    last = entry;
    previousEnd = at.offset + at.length;
  }
  assert(entries.length === index.restartCount, "an index has entries without a restart point");
  return entries;
}
