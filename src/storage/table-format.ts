/**
 * The parts of a table file around its blocks (`docs/formats/sstable.md` is the reference):
 *
 *     table = data blocks and partitions, top index, range tombstone block (if there are any), properties block, footer
 *
 * A partition (`partition.ts`) has the index and the bloom filter of the data blocks before it, back to the partition
 * before. The top index has an entry for each partition. So to open a table takes a read of its last kilobytes, however
 * long it is, and all else is read when it is needed, and may leave memory again.
 *
 * Every block is followed by a trailer: u8 compression, u64 checksum. The checksum is the XXH64 of the block as it is in
 * the file and of its compression byte, XORed with the block's place (file number * 2^40 + offset), so that a good block
 * in the wrong place is found as well.
 */
import { assert } from "../lib/assert.ts";
import { xxh64 } from "../lib/hash.ts";
import { zstdCompress, zstdDecompress } from "../lib/zstd.ts";
import {
  GrowingBytes,
  readBigU64,
  readU32,
  readU64,
  writeBigU64,
  writeU32,
  writeU64,
} from "./fixed-width.ts";
import { corrupt, newerFormat } from "./storage-error.ts";

export const TABLE_FORMAT_VERSION = 1;
export const BLOCK_TRAILER_BYTES = 9;
export const FOOTER_BYTES = 64;
/** The value of an index entry: u64 offset, u32 length of a block in the file, without its trailer. */
export const BLOCK_POINTER_BYTES = 12;
const COMPRESSION_NONE = 0;
const COMPRESSION_ZSTD = 1;
/** A block that compression makes shorter by less than one part in this many is stored as it is. */
const WORTHWHILE = 8;
const MAGIC = new TextEncoder().encode("FLOTTABL");

/** Where a block lies: its offset and its length without the trailer, in bytes. */
export interface BlockPointer {
  readonly offset: number;
  readonly length: number;
}

export interface Footer {
  readonly topIndex: BlockPointer;
  /** Length 0: the table has no range tombstones, and no block for them. */
  readonly rangeTombstones: BlockPointer;
  readonly properties: BlockPointer;
}

/** What a table says of itself. Keys are owned. */
export interface TableProperties {
  readonly entries: number;
  readonly tombstones: number;
  readonly rangeTombstones: number;
  /** Entries with a time from which they are gone, and the latest such time (milliseconds; 0 without any). */
  readonly expiring: number;
  readonly latestExpiry: number;
  /** Entries that are older versions of the key of the entry before: what a snapshot saw when the table was written. */
  readonly overwritten: number;
  readonly dataBlocks: number;
  readonly partitions: number;
  /** Bytes of all data blocks before compression, and of the longest block of any kind: what a reader must have room for. */
  readonly rawBytes: number;
  readonly longestBlock: number;
  readonly smallestSequence: number;
  readonly largestSequence: number;
  readonly smallestKey: Uint8Array;
  readonly largestKey: Uint8Array;
  /** False: the table reaches up to `largestKey` and without it; only the end of a range tombstone does that. */
  readonly largestKeyIncluded: boolean;
}

/** How the data blocks of a table are written. */
export type Compression = "none" | "zstd";

/** Appends a block and its trailer to `out`, of which byte 0 will be byte `outOffset` of table `fileNumber`. */
export function appendBlock(
  out: GrowingBytes,
  outOffset: number,
  fileNumber: number,
  block: Uint8Array,
  compression: Compression,
): BlockPointer {
  const start = out.length;
  const compressed = compression === "zstd" ? zstdCompress(block) : undefined;
  const worthwhile =
    compressed !== undefined && compressed.length <= block.length - block.length / WORTHWHILE;
  const stored = worthwhile ? compressed : block;
  out.append(stored);
  out.u8(worthwhile ? COMPRESSION_ZSTD : COMPRESSION_NONE);
  const offset = outOffset + start;
  const checksum = blockChecksum(out.bytes.subarray(start, out.length), fileNumber, offset);
  out.reserve(8);
  writeBigU64(out.bytes, out.length, checksum);
  out.length += 8;
  return { offset, length: stored.length };
}

/**
 * Checks a block that was read together with its trailer, and decompresses it; throws `CORRUPT`. Returns the block: a
 * view of `bytes`, or bytes of its own. `longestBlock`: what the table's properties say that a block may have at most.
 */
export function openBlock(
  bytes: Uint8Array,
  fileNumber: number,
  offset: number,
  path: string,
  longestBlock: number,
): Uint8Array {
  const length = bytes.length - BLOCK_TRAILER_BYTES;
  const found = readBigU64(bytes, length + 1);
  const compression = checkBlock(bytes.subarray(0, length + 1), found, fileNumber, offset, path);
  const stored = bytes.subarray(0, length);
  return compression === "none" ? stored : decompressBlock(stored, offset, path, longestBlock);
}

/**
 * Checks a block against the checksum found behind it; throws `CORRUPT`. `bytes`: the block and its compression byte.
 * Returns how it is compressed.
 */
export function checkBlock(
  bytes: Uint8Array,
  found: bigint,
  fileNumber: number,
  offset: number,
  path: string,
): Compression {
  const length = bytes.length - 1;
  const expected = blockChecksum(bytes, fileNumber, offset);
  if (found !== expected) {
    throw corrupt(
      path,
      offset,
      `a block of ${length} bytes has the checksum ${found.toString(16)}, expected ${expected.toString(16)}`,
    );
  }
  if (bytes[length] === COMPRESSION_NONE) return "none";
  if (bytes[length] === COMPRESSION_ZSTD) return "zstd";
  throw corrupt(path, offset, `a block has the unknown compression ${bytes[length]}`);
}

/** The content of a compressed block whose checksum was right, owned by the caller; throws `CORRUPT`. */
export function decompressBlock(
  stored: Uint8Array,
  offset: number,
  path: string,
  longestBlock: number,
): Uint8Array {
  const block = zstdDecompress(stored, longestBlock);
  if (block === undefined) {
    const what = `a block of ${stored.length} bytes is no zstd frame of at most ${longestBlock} bytes`;
    throw corrupt(path, offset, what);
  }
  return block;
}

/** The checksum in the trailer of a block at `offset`, for the block and its compression byte. */
export function blockChecksum(bytes: Uint8Array, fileNumber: number, offset: number): bigint {
  return xxh64(bytes) ^ BigInt.asUintN(64, (BigInt(fileNumber) << 40n) + BigInt(offset));
}

/**
 * The last 64 bytes of a table. Owned by the caller. Whatever a later version changes: the length of the footer and the
 * places of version, checksum and magic stay, so that an older program can say what is the matter.
 */
export function encodeFooter(footer: Footer): Uint8Array {
  const bytes = new Uint8Array(FOOTER_BYTES);
  let at = 0;
  for (const { offset, length } of [footer.topIndex, footer.rangeTombstones, footer.properties]) {
    writeU64(bytes, at, offset);
    writeU32(bytes, at + 8, length);
    at += 12;
  }
  writeU32(bytes, 44, TABLE_FORMAT_VERSION);
  writeBigU64(bytes, 48, xxh64(bytes.subarray(0, 48)));
  bytes.set(MAGIC, 56);
  return bytes;
}

/** Reads and checks the footer of a table of `fileBytes` bytes; throws `CORRUPT`, `NEWER`. */
export function decodeFooter(bytes: Uint8Array, path: string, fileBytes: number): Footer {
  assert(bytes.length === FOOTER_BYTES, `footer of ${bytes.length} bytes`);
  const at = fileBytes - FOOTER_BYTES;
  for (let i = 0; i < MAGIC.length; i++) {
    if (bytes[56 + i] !== MAGIC[i])
      throw corrupt(path, at, "the footer does not end with FLOTTABL: not a table");
  }
  if (readBigU64(bytes, 48) !== xxh64(bytes.subarray(0, 48)))
    throw corrupt(path, at, "the footer's checksum is wrong");
  const version = readU32(bytes, 44);
  if (version > TABLE_FORMAT_VERSION) throw newerFormat(path, version, TABLE_FORMAT_VERSION);
  if (version !== TABLE_FORMAT_VERSION) {
    throw corrupt(
      path,
      at,
      `the table has format version ${version}, this program reads ${TABLE_FORMAT_VERSION}`,
    );
  }
  const pointer = (position: number): BlockPointer => {
    const length = readU32(bytes, position + 8);
    // As a number: what is above 2^53 is rounded, and far behind the end all the same.
    const offset = readU32(bytes, position + 4) * 0x1_0000_0000 + readU32(bytes, position);
    if (offset + length + BLOCK_TRAILER_BYTES > at)
      throw corrupt(path, at, `the footer points to ${offset}+${length}, behind the end of the blocks`);
    return { offset, length };
  };
  return { topIndex: pointer(0), rangeTombstones: pointer(12), properties: pointer(24) };
}

/** Owned by the caller. */
export function encodeProperties(properties: TableProperties): Uint8Array {
  const out = new GrowingBytes(128);
  for (const number of NUMBERS) out.u64(properties[number]);
  out.prefixed(properties.smallestKey);
  out.prefixed(properties.largestKey);
  out.u8(properties.largestKeyIncluded ? 1 : 0);
  return out.view();
}

/** The properties that are u64s, in their order. */
const NUMBERS = [
  "entries",
  "tombstones",
  "rangeTombstones",
  "expiring",
  "latestExpiry",
  "overwritten",
  "dataBlocks",
  "partitions",
  "rawBytes",
  "longestBlock",
  "smallestSequence",
  "largestSequence",
] as const satisfies readonly (keyof TableProperties)[];

/** Reads the properties block; its checksum was right. */
export function decodeProperties(bytes: Uint8Array): TableProperties {
  const smallestAt = NUMBERS.length * 8;
  assert(bytes.length >= smallestAt + 9, "table properties: too short");
  const numbers = Object.fromEntries(NUMBERS.map((name, i) => [name, readU64(bytes, i * 8)]));
  const smallestEnd = smallestAt + 4 + readU32(bytes, smallestAt);
  assert(smallestEnd + 5 <= bytes.length, "table properties: the lowest key is too long");
  const largestEnd = smallestEnd + 4 + readU32(bytes, smallestEnd);
  assert(largestEnd + 1 === bytes.length, "table properties: lengths do not add up");
  return {
    ...(numbers as Record<(typeof NUMBERS)[number], number>),
    smallestKey: bytes.slice(smallestAt + 4, smallestEnd),
    largestKey: bytes.slice(smallestEnd + 4, largestEnd),
    largestKeyIncluded: bytes[largestEnd] === 1,
  };
}
