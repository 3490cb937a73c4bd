/**
 * A walk through all parts of a table file that goes on where one of them is damaged: for the tools that check, show and
 * repair. The engine's own reader stops at the first.
 *
 * The parts come in this order: footer, properties, range tombstones, top index, then each partition followed by its data
 * blocks. What can't be read comes as damage, with what is known about the keys in it. Where the index of data blocks is
 * lost, they are looked for (`block-search.ts`).
 */
import type { FileSystem } from "../../env/env.ts";
import { AssertionError } from "../../lib/assert.ts";
import { Block } from "../block.ts";
import { readU32 } from "../fixed-width.ts";
import { Partition } from "../partition.ts";
import type { RangeTombstone } from "../range-tombstone.ts";
import { decodeRangeTombstones } from "../range-tombstone-block.ts";
import { corrupt, type Damage, StorageError } from "../storage-error.ts";
import { TableFile } from "../table-file.ts";
import {
  BLOCK_TRAILER_BYTES,
  type BlockPointer,
  decodeFooter,
  decodeProperties,
  FOOTER_BYTES,
  type Footer,
  type TableProperties,
} from "../table-format.ts";
import { searchBlocks } from "./block-search.ts";
import { checkDataBlock, type IndexEntry, indexEntries, lastKeyOf } from "./data-block.ts";

/** A part that was read and whose checksum was right, or one that was not. */
export type TablePart =
  | { readonly kind: "footer"; readonly at: BlockPointer; readonly footer: Footer }
  | { readonly kind: "properties"; readonly at: BlockPointer; readonly properties: TableProperties }
  | {
      readonly kind: "rangeTombstones";
      readonly at: BlockPointer;
      readonly tombstones: readonly RangeTombstone[];
    }
  | { readonly kind: "topIndex"; readonly at: BlockPointer; readonly entries: readonly IndexEntry[] }
  | {
      readonly kind: "partition";
      readonly at: BlockPointer;
      readonly partition: Partition;
      readonly entries: readonly IndexEntry[];
    }
  | { readonly kind: "data"; readonly at: BlockPointer; readonly block: Block; readonly searched: boolean }
  | TableDamage;

export interface TableDamage {
  readonly kind: "damage";
  readonly part: DamagedPart;
  readonly at: BlockPointer;
  /** How the damage shows. */
  readonly what: string;
  /** Of lost entries: they are above the key `after`, and not above `upTo`; undefined where that is not known. */
  readonly after: Uint8Array | undefined;
  readonly upTo: Uint8Array | undefined;
}

export type DamagedPart =
  | "footer"
  | "properties"
  | "rangeTombstones"
  | "topIndex"
  | "partition"
  | "data"
  /** A stretch in which no block was found. */
  | "unknown";

/** What a block may have at most where the table can't say it any more. */
const LONGEST_BLOCK = 0x4000_0000;

/** Walks through the table `number` at `path`. Throws `FileError`, and `NEWER` for a table of a newer version. */
export function* surveyTable(fs: FileSystem, path: string, number: number): Generator<TablePart, void, void> {
  const handle = fs.open(path, "read");
  try {
    const file = new TableFile(handle, number);
    yield* new Survey(file).parts();
  } finally {
    handle.close();
  }
}

class Survey {
  readonly #file: TableFile;

  constructor(file: TableFile) {
    this.#file = file;
    file.longestBlock = LONGEST_BLOCK;
  }

  *parts(): Generator<TablePart, void, void> {
    const file = this.#file;
    const footerAt = {
      offset: Math.max(0, file.size - FOOTER_BYTES),
      length: Math.min(file.size, FOOTER_BYTES),
    };
    const footer = attempt(() => {
      if (file.size < FOOTER_BYTES)
        throw corrupt(file.handle.path, 0, `${file.size} bytes are too few for a table`);
      return decodeFooter(file.bytes(footerAt.offset, FOOTER_BYTES), file.handle.path, file.size);
    });
    if (!footer.ok) {
      yield damage("footer", footerAt, footer.what);
      yield* this.#search(0, file.size, undefined, undefined);
      return;
    }
    yield { kind: "footer", at: footerAt, footer: footer.value };
    const {
      properties: propertiesAt,
      rangeTombstones: rangeTombstonesAt,
      topIndex: topIndexAt,
    } = footer.value;
    const properties = attempt(() => decodeProperties(file.block(propertiesAt)));
    if (properties.ok) {
      file.longestBlock = properties.value.longestBlock;
      yield { kind: "properties", at: propertiesAt, properties: properties.value };
    } else yield damage("properties", propertiesAt, properties.what);
    if (rangeTombstonesAt.length > 0) {
      const tombstones = attempt(() => decodeRangeTombstones(file.block(rangeTombstonesAt)));
      if (tombstones.ok)
        yield { kind: "rangeTombstones", at: rangeTombstonesAt, tombstones: tombstones.value };
      else yield damage("rangeTombstones", rangeTombstonesAt, tombstones.what);
    }
    const topIndex = attempt(() => indexEntries(new Block(file.block(topIndexAt)), topIndexAt.offset));
    if (!topIndex.ok) {
      yield damage("topIndex", topIndexAt, topIndex.what);
      yield* this.#search(0, topIndexAt.offset, undefined, undefined);
      return;
    }
    yield { kind: "topIndex", at: topIndexAt, entries: topIndex.value };
    yield* this.#partitions(topIndex.value);
  }

  *#partitions(topIndex: readonly IndexEntry[]): Generator<TablePart, void, void> {
    const file = this.#file;
    let start = 0;
    let after: Uint8Array | undefined;
    for (const { at, separator: upTo } of topIndex) {
      const found = attempt(() => {
        const bytes = file.block(at);
        const entries = indexEntries(indexOf(bytes), at.offset);
        return { partition: new Partition(bytes), entries };
      });
      if (found.ok) {
        const { partition, entries } = found.value;
        yield { kind: "partition", at, partition, entries };
        yield* this.#dataBlocks(entries, after);
      } else {
        yield damage("partition", at, found.what);
        yield* this.#search(start, at.offset, after, upTo);
      }
      start = endOf(at);
      after = upTo;
    }
  }

  *#dataBlocks(
    entries: readonly IndexEntry[],
    before: Uint8Array | undefined,
  ): Generator<TablePart, void, void> {
    let after = before;
    for (const { at, separator: upTo } of entries) {
      const block = attempt(() => checkDataBlock(new Block(this.#file.block(at))));
      if (block.ok) yield { kind: "data", at, block: block.value, searched: false };
      else yield damage("data", at, block.what, after, upTo);
      after = upTo;
    }
  }

  /** Data blocks, and what else can be told from them, in a part of the file whose index is lost. */
  *#search(
    start: number,
    end: number,
    after: Uint8Array | undefined,
    upTo: Uint8Array | undefined,
  ): Generator<TablePart, void, void> {
    let last = after;
    let isBehindData = false;
    for (const found of searchBlocks(this.#file, start, end)) {
      const { at } = found;
      if (found.kind === "lost") {
        if (!isBehindData) yield damage("unknown", at, "no block was found here", last, upTo);
        continue;
      }
      if (isIndexBefore(found.bytes, at.offset)) continue;
      const tombstones = attempt(() => decodeRangeTombstones(found.bytes));
      if (tombstones.ok && tombstones.value.length > 0) {
        isBehindData = true;
        yield { kind: "rangeTombstones", at, tombstones: tombstones.value };
        continue;
      }
      const properties = attempt(() => decodeProperties(found.bytes));
      if (properties.ok) {
        isBehindData = true;
        yield { kind: "properties", at, properties: properties.value };
        continue;
      }
      const block = attempt(() => checkDataBlock(new Block(found.bytes)));
      if (!block.ok) {
        yield damage("unknown", at, `a block of an unknown kind: ${block.what}`, last, upTo);
        continue;
      }
      last = lastKeyOf(block.value);
      yield { kind: "data", at, block: block.value, searched: true };
    }
  }
}

/**
 * Whether the block that begins at `offset` is a partition, or the top index: both lie directly behind the last block that
 * they point to. No data block looks like that but by intent.
 */
function isIndexBefore(bytes: Uint8Array, offset: number): boolean {
  for (const read of [() => indexOf(bytes), () => new Block(bytes)]) {
    const entries = attempt(() => indexEntries(read(), offset));
    if (entries.ok && entries.value.length > 0 && endOf(entries.value.at(-1)!.at) === offset) return true;
  }
  return false;
}

/** The index in a partition. Throws if it can't be one. */
function indexOf(bytes: Uint8Array): Block {
  void new Partition(bytes);
  return new Block(bytes, readU32(bytes, bytes.length - 4));
}

function endOf({ offset, length }: BlockPointer): number {
  return offset + length + BLOCK_TRAILER_BYTES;
}

function damage(
  part: DamagedPart,
  at: BlockPointer,
  what: string,
  after?: Uint8Array,
  upTo?: Uint8Array,
): TableDamage {
  return { kind: "damage", part, at, what, after, upTo };
}

export type Attempt<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly what: string; readonly damage: Damage | undefined };

/** Bytes that can't be what was written make readers throw in several ways. */
export function attempt<Value>(read: () => Value): Attempt<Value> {
  try {
    return { ok: true, value: read() };
  } catch (error) {
    if (error instanceof StorageError && error.damage !== undefined)
      return { ok: false, what: error.damage.what, damage: error.damage };
    if (error instanceof AssertionError || error instanceof RangeError)
      return { ok: false, what: error.message, damage: undefined };
    throw error;
  }
}
