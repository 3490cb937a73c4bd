/**
 * Frames: what a connection carries after its preamble.
 *
 * | u32 length | u8 type | u8 flags | u32 request id | body | u32 checksum |
 *
 * Big-endian. `length` counts everything after itself. The checksum is CRC-32 (IEEE 802.3, as in zlib and Ethernet) of
 * type up to and including body: every language has it in its standard library, and it costs nothing beside the copy.
 * TCP's own checksum misses what broken memory in middle boxes does; this one closes the connection instead.
 */
import type { ByteWriter } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { plainView } from "./plain-view.ts";

/** A frame that arrived. `body` is a view of the bytes that were pushed, or of a buffer of its own. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  /** Chosen by who asks, 0 to 2^32 - 1; the answer repeats it. */
  readonly requestId: number;
  readonly body: Uint8Array;
}

/** Set on a request that one node sends to another for a client: it is answered or redirected, never forwarded again. */
export const FLAG_FORWARDED = 1;

const LENGTH_BYTES = 4;
/** Type, flags, request id. */
const HEADER_BYTES = 6;
const CHECKSUM_BYTES = 4;
/** The smallest number that a length field may hold. */
export const FRAME_LENGTH_MIN = HEADER_BYTES + CHECKSUM_BYTES;
const NOTHING = new Uint8Array(0);
/** A frame that is not longer than this gets its whole buffer at once when it spans chunks. */
const ASSEMBLY_BYTES = 64 * 1024;

/** Starts a frame. Its body is what is written up to `endFrame`, which wants the mark that this returns. */
export function beginFrame(writer: ByteWriter, type: number, flags: number, requestId: number): number {
  const mark = writer.length;
  writer.u32(0);
  writer.u8(type);
  writer.u8(flags);
  writer.u32(requestId);
  return mark;
}

/** Ends the frame that began at `mark`: sets its length and appends its checksum. */
export function endFrame(writer: ByteWriter, mark: number): void {
  const end = writer.length;
  writer.patchU32(mark, end - mark - LENGTH_BYTES + CHECKSUM_BYTES);
  writer.u32(Bun.hash.crc32(writer.view(mark + LENGTH_BYTES, end)));
}

/**
 * Cuts a byte stream into frames. Whole frames inside of one chunk are not copied. A frame that spans chunks is
 * assembled in a buffer of its own that grows with the bytes that came, not with the length that was announced.
 */
export class FrameReader {
  readonly #bytesMax: number;
  /** Chunks that were not looked at, oldest at `#head`. */
  #queue: Uint8Array[] = [];
  #head = 0;
  #chunk: Uint8Array = NOTHING;
  #at = 0;
  /** The beginning of a frame whose rest has not come; `#partialLength` bytes of it are filled. */
  #partial: Uint8Array = NOTHING;
  #partialLength = 0;
  #bufferedBytes = 0;

  /** `bytesMax`: the largest number that a length field may hold. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes that were pushed and have not left as frames. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** Adds bytes that arrived. They belong to the reader from now on; frames are views of them. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#bufferedBytes += chunk.length;
    const bytes = plainView(chunk);
    if (this.#at === this.#chunk.length && this.#head === this.#queue.length) {
      this.#chunk = bytes;
      this.#at = 0;
    } else {
      this.#queue.push(bytes);
    }
  }

  /**
   * The next frame, or `undefined` until more has been pushed. Throws `ProtocolError`: TOO_LARGE for a length above the
   * limit, BAD_FRAME for one that is too short or a wrong checksum. Nothing can be read after that: the stream has lost
   * its place.
   */
  next(): Frame | undefined {
    while (this.#at < this.#chunk.length || this.#nextChunk()) {
      const chunk = this.#chunk;
      const at = this.#at;
      const available = chunk.length - at;
      if (this.#partialLength === 0 && available >= LENGTH_BYTES) {
        const total = LENGTH_BYTES + this.#checkedLength(chunk, at);
        if (available >= total) {
          this.#at = at + total;
          this.#bufferedBytes -= total;
          return parseFrame(chunk, at, at + total);
        }
      }
      const frame = this.#assemble();
      if (frame !== undefined) return frame;
    }
    // A connection that waits must not hold on to the memory of its last chunk.
    this.#chunk = NOTHING;
    this.#at = 0;
    return undefined;
  }

  #nextChunk(): boolean {
    if (this.#head === this.#queue.length) return false;
    this.#chunk = this.#queue[this.#head]!;
    this.#at = 0;
    this.#head++;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    }
    return true;
  }

  /** Moves bytes of the current chunk to the partial frame; the frame, if that completes it. */
  #assemble(): Frame | undefined {
    if (this.#partialLength < LENGTH_BYTES) this.#take(LENGTH_BYTES);
    if (this.#partialLength < LENGTH_BYTES) return undefined;
    const total = LENGTH_BYTES + this.#checkedLength(this.#partial, 0);
    this.#take(total);
    if (this.#partialLength < total) return undefined;
    const whole = this.#partial;
    this.#partial = NOTHING;
    this.#partialLength = 0;
    this.#bufferedBytes -= total;
    return parseFrame(whole, 0, total);
  }

  /** Fills the partial frame up to `wanted` bytes, as far as the current chunk goes. */
  #take(wanted: number): void {
    const count = Math.min(wanted - this.#partialLength, this.#chunk.length - this.#at);
    const filled = this.#partialLength + count;
    if (filled > this.#partial.length) {
      const larger = new Uint8Array(Math.min(wanted, Math.max(2 * filled, ASSEMBLY_BYTES)));
      larger.set(this.#partial.subarray(0, this.#partialLength));
      this.#partial = larger;
    }
    this.#partial.set(this.#chunk.subarray(this.#at, this.#at + count), this.#partialLength);
    this.#partialLength = filled;
    this.#at += count;
  }

  #checkedLength(bytes: Uint8Array, at: number): number {
    const length = readU32(bytes, at);
    if (length > this.#bytesMax) {
      throw new ProtocolError(
        "TOO_LARGE",
        `a frame of ${length} bytes came, at most ${this.#bytesMax} are allowed`,
      );
    }
    if (length < FRAME_LENGTH_MIN) {
      throw new ProtocolError(
        "BAD_FRAME",
        `a frame has a length of ${length}, the shortest is ${FRAME_LENGTH_MIN}`,
      );
    }
    return length;
  }
}

/** The frame in `bytes[start, end)`, its length field included. */
function parseFrame(bytes: Uint8Array, start: number, end: number): Frame {
  const from = start + LENGTH_BYTES;
  const bodyEnd = end - CHECKSUM_BYTES;
  const expected = readU32(bytes, bodyEnd);
  const computed = Bun.hash.crc32(bytes.subarray(from, bodyEnd));
  if (computed !== expected) {
    throw new ProtocolError(
      "BAD_FRAME",
      `a frame of type ${bytes[from]} has checksum ${hex(expected)}, its bytes give ${hex(computed)}`,
    );
  }
  return {
    type: bytes[from]!,
    flags: bytes[from + 1]!,
    requestId: readU32(bytes, from + 2),
    body: bytes.subarray(from + HEADER_BYTES, bodyEnd),
  };
}

function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

const hex = (value: number): string => value.toString(16).padStart(8, "0");
