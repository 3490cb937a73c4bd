/**
 * The parts of a table file around its blocks (`docs/formats/sstable.md` is the reference):
 *
 *     table = data blocks, filter block, index block, range tombstone block (if there are any), properties block, footer
 *
 * Every block is followed by a trailer: u8 compression (0: none), u64 checksum. The checksum is the XXH64 of the block
 * and its compression byte, XORed with the block's place (file number * 2^40 + offset), so that a good block in the
 * wrong place is found as well.
 */
import { assert } from "../lib/assert.ts";
import { xxh64 } from "../lib/hash.ts";
import {
  GrowingBytes,
  readBigU64,
  readU32,
  readU64,
  writeBigU64,
  writeU32,
  writeU64,
} from "./fixed-width.ts";
import { corrupt } from "./storage-error.ts";

export const TABLE_FORMAT_VERSION = 1;
export const BLOCK_TRAILER_BYTES = 9;
export const FOOTER_BYTES = 72;
/** The value of an index entry: u64 offset, u32 length of a data block without its trailer. */
export const BLOCK_POINTER_BYTES = 12;
const COMPRESSION_NONE = 0;
const MAGIC = new TextEncoder().encode("FLOTTABL");

/** Where a block lies: its offset and its length without the trailer, in bytes. */
export interface BlockPointer {
  readonly offset: number;
  readonly length: number;
}

export interface Footer {
  readonly filter: BlockPointer;
  readonly index: BlockPointer;
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
  readonly dataBlocks: number;
  readonly smallestSequence: number;
  readonly largestSequence: number;
  readonly smallestKey: Uint8Array;
  readonly largestKey: Uint8Array;
  /** False: the table reaches up to `largestKey` and without it; only the end of a range tombstone does that. */
  readonly largestKeyIncluded: boolean;
}

/** Appends a block and its trailer to `out`, of which byte 0 will be byte `outOffset` of table `fileNumber`. */
export function appendBlock(
  out: GrowingBytes,
  outOffset: number,
  fileNumber: number,
  block: Uint8Array,
): BlockPointer {
  const start = out.length;
  out.append(block);
  out.u8(COMPRESSION_NONE);
  const offset = outOffset + start;
  const checksum = blockChecksum(out.bytes.subarray(start, out.length), fileNumber, offset);
  out.reserve(8);
  writeBigU64(out.bytes, out.length, checksum);
  out.length += 8;
  return { offset, length: block.length };
}

/** Checks a block that was read together with its trailer; throws `CORRUPT`. Returns the block: a view. */
export function checkBlock(bytes: Uint8Array, fileNumber: number, offset: number, path: string): Uint8Array {
  const length = bytes.length - BLOCK_TRAILER_BYTES;
  const expected = blockChecksum(bytes.subarray(0, length + 1), fileNumber, offset);
  const found = readBigU64(bytes, length + 1);
  if (found !== expected) {
    throw corrupt(
      path,
      offset,
      `a block of ${length} bytes has the checksum ${found.toString(16)}, expected ${expected.toString(16)}`,
    );
  }
  if (bytes[length] !== COMPRESSION_NONE) {
    throw corrupt(path, offset, `a block has the unknown compression ${bytes[length]}`);
  }
  return bytes.subarray(0, length);
}

function blockChecksum(bytes: Uint8Array, fileNumber: number, offset: number): bigint {
  return xxh64(bytes) ^ BigInt.asUintN(64, (BigInt(fileNumber) << 40n) + BigInt(offset));
}

/** The last 72 bytes of a table. Owned by the caller. */
export function encodeFooter(footer: Footer): Uint8Array {
  const bytes = new Uint8Array(FOOTER_BYTES);
  let at = 0;
  for (const { offset, length } of [footer.filter, footer.index, footer.rangeTombstones, footer.properties]) {
    writeU64(bytes, at, offset);
    writeU32(bytes, at + 8, length);
    at += 12;
  }
  writeU32(bytes, 48, TABLE_FORMAT_VERSION);
  writeBigU64(bytes, 56, xxh64(bytes.subarray(0, 56)));
  bytes.set(MAGIC, 64);
  return bytes;
}

/** Reads and checks the footer of a table of `fileBytes` bytes; throws `CORRUPT`. */
export function decodeFooter(bytes: Uint8Array, path: string, fileBytes: number): Footer {
  assert(bytes.length === FOOTER_BYTES, `footer of ${bytes.length} bytes`);
  const at = fileBytes - FOOTER_BYTES;
  for (let i = 0; i < MAGIC.length; i++) {
    if (bytes[64 + i] !== MAGIC[i])
      throw corrupt(path, at, "the footer does not end with FLOTTABL: not a table");
  }
  const version = readU32(bytes, 48);
  if (readBigU64(bytes, 56) !== xxh64(bytes.subarray(0, 56))) {
    throw corrupt(path, at, "the footer's checksum is wrong");
  }
  if (version !== TABLE_FORMAT_VERSION) {
    throw corrupt(
      path,
      at,
      `the table has format version ${version}, this program reads ${TABLE_FORMAT_VERSION}`,
    );
  }
  const pointer = (position: number): BlockPointer => {
    const offset = readU64(bytes, position);
    const length = readU32(bytes, position + 8);
    if (offset + length + BLOCK_TRAILER_BYTES > at) {
      throw corrupt(path, at, `the footer points to ${offset}+${length}, behind the end of the blocks`);
    }
    return { offset, length };
  };
  return { filter: pointer(0), index: pointer(12), rangeTombstones: pointer(24), properties: pointer(36) };
}

/** Owned by the caller. */
export function encodeProperties(properties: TableProperties): Uint8Array {
  const out = new GrowingBytes(64);
  out.u64(properties.entries);
  out.u64(properties.tombstones);
  out.u64(properties.rangeTombstones);
  out.u64(properties.expiring);
  out.u64(properties.latestExpiry);
  out.u64(properties.dataBlocks);
  out.u64(properties.smallestSequence);
  out.u64(properties.largestSequence);
  out.prefixed(properties.smallestKey);
  out.prefixed(properties.largestKey);
  out.u8(properties.largestKeyIncluded ? 1 : 0);
  return out.view();
}

/** Reads the properties block; its checksum was right. */
export function decodeProperties(bytes: Uint8Array): TableProperties {
  const smallestLength = readU32(bytes, 64);
  const largestAt = 68 + smallestLength;
  const largestEnd = largestAt + 4 + readU32(bytes, largestAt);
  assert(largestEnd + 1 === bytes.length, "table properties: lengths do not add up");
  return {
    entries: readU64(bytes, 0),
    tombstones: readU64(bytes, 8),
    rangeTombstones: readU64(bytes, 16),
    expiring: readU64(bytes, 24),
    latestExpiry: readU64(bytes, 32),
    dataBlocks: readU64(bytes, 40),
    smallestSequence: readU64(bytes, 48),
    largestSequence: readU64(bytes, 56),
    smallestKey: bytes.slice(68, largestAt),
    largestKey: bytes.slice(largestAt + 4, largestEnd),
    largestKeyIncluded: bytes[largestEnd] === 1,
  };
}
