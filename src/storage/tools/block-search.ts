/**
 * Finds the blocks in a part of a table file whose index is lost. Blocks lie one behind the other, and where one begins
 * its end is the first place at which the checksum in the trailer is right: a chance of one in 2^64 for a wrong place.
 * Behind damage the next beginning is not known; there a block is found from its end, which for one that is not compressed
 * has the shape of a list of restart points.
 */
import { readBigU64, readU32 } from "../fixed-width.ts";
import type { TableFile } from "../table-file.ts";
import { BLOCK_TRAILER_BYTES, type BlockPointer, blockChecksum, openBlock } from "../table-format.ts";

/** A block, decompressed; or a stretch without any. */
export type FoundBlock =
  | { readonly kind: "block"; readonly at: BlockPointer; readonly bytes: Uint8Array }
  | { readonly kind: "lost"; readonly at: BlockPointer };

/** Up to this length every end is tried; beyond it, only those that look like one. */
const ANY_END_BYTES = 64 * 1024;
const ZSTD_MAGIC = 0xfd2fb528;

/** The blocks between two offsets, in order. Throws `FileError`. */
export function* searchBlocks(
  file: TableFile,
  start: number,
  end: number,
): Generator<FoundBlock, void, void> {
  const bytes = file.bytes(start, end - start);
  const isBlock = (from: number, to: number): boolean => {
    const checksum = blockChecksum(bytes.subarray(from, to + 1), file.number, start + from);
    return readBigU64(bytes, to + 1) === checksum;
  };
  let at = 0;
  let lost = 0;
  const lostUpTo = (offset: number): FoundBlock[] =>
    lost === offset ? [] : [{ kind: "lost", at: { offset: start + lost, length: offset - lost } }];
  while (at < bytes.length) {
    let found = endOfBlock(bytes, at, isBlock);
    if (found === undefined) {
      const next = nextBlock(bytes, at + 1, isBlock);
      if (next === undefined) break;
      ({ at, end: found } = next);
    }
    yield* lostUpTo(at);
    const pointer = { offset: start + at, length: found - at };
    const stored = bytes.slice(at, found + BLOCK_TRAILER_BYTES);
    const opened = openBlock(stored, file.number, pointer.offset, file.handle.path, file.longestBlock);
    yield { kind: "block", at: pointer, bytes: opened };
    at = found + BLOCK_TRAILER_BYTES;
    lost = at;
  }
  yield* lostUpTo(bytes.length);
}

type IsBlock = (from: number, to: number) => boolean;

/** Where the block that begins at `start` ends, without its trailer. */
function endOfBlock(bytes: Uint8Array, start: number, isBlock: IsBlock): number | undefined {
  const compression = isCompressed(bytes, start) ? 1 : 0;
  const last = bytes.length - BLOCK_TRAILER_BYTES;
  for (let end = start + 1; end <= last; end++) {
    if (bytes[end] !== compression) continue;
    const isNear = end - start <= ANY_END_BYTES;
    if (!isNear && compression === 0 && !looksLikeEnd(bytes, start, end)) continue;
    if (isBlock(start, end)) return end;
    // A frame that is not compressed may begin with anything.
  }
  return compression === 1 ? endOfRawBlock(bytes, start, isBlock) : undefined;
}

function endOfRawBlock(bytes: Uint8Array, start: number, isBlock: IsBlock): number | undefined {
  for (let end = start + 8; end <= bytes.length - BLOCK_TRAILER_BYTES; end++) {
    if (bytes[end] === 0 && looksLikeEnd(bytes, start, end) && isBlock(start, end)) return end;
  }
  return undefined;
}

/** The next block that begins at `from` or behind it. */
function nextBlock(
  bytes: Uint8Array,
  from: number,
  isBlock: IsBlock,
): { readonly at: number; readonly end: number } | undefined {
  for (let place = from; place <= bytes.length - BLOCK_TRAILER_BYTES; place++) {
    if (isCompressed(bytes, place)) {
      const end = endOfBlock(bytes, place, isBlock);
      if (end !== undefined) return { at: place, end };
    }
    // As the end of one that is not compressed; its first entry shares nothing with the one before.
    if (bytes[place] !== 0 || !looksLikeEnd(bytes, from, place)) continue;
    for (let at = from; at < place; at++) {
      if (bytes[at] === 0 && isBlock(at, place)) return { at, end: place };
    }
  }
  return undefined;
}

function isCompressed(bytes: Uint8Array, at: number): boolean {
  return at + 4 <= bytes.length && readU32(bytes, at) === ZSTD_MAGIC;
}

/** Whether ascending restart points, of which the first is 0, and their number are in front of `end`. */
function looksLikeEnd(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < 8) return false;
  const count = readU32(bytes, end - 4);
  const first = end - 4 - count * 4;
  if (count === 0 || first < start || readU32(bytes, first) !== 0) return false;
  for (let i = 1; i < count; i++) {
    if (readU32(bytes, first + i * 4) <= readU32(bytes, first + i * 4 - 4)) return false;
  }
  return count === 1 || readU32(bytes, end - 8) < first - start;
}
