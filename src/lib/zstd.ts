/** Zstandard (RFC 8878), as Bun has it, for blocks of files. */

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];

/** One frame with the content of `bytes`, its length in the header. Owned by the caller. `level`: 1 is the fastest. */
export function zstdCompress(bytes: Uint8Array, level = 1): Uint8Array {
  return plain(Bun.zstdCompressSync(bytes, { level }));
}

/**
 * The content of a frame, owned by the caller; `undefined` if `frame` is none, does not say how long its content is, or
 * says more than `lengthMax`. Nothing is allocated for the content before that is known.
 */
export function zstdDecompress(frame: Uint8Array, lengthMax: number): Uint8Array | undefined {
  const length = contentLength(frame);
  if (length === undefined || length > lengthMax) return undefined;
  let content: Uint8Array;
  try {
    content = Bun.zstdDecompressSync(frame);
  } catch {
    return undefined;
  }
  return content.length === length ? plain(content) : undefined;
}

/** A Buffer would be a trap: its `slice` is a view, and who thinks that it is a copy changes what it was made of. */
function plain({ buffer, byteOffset, length }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}

/** What a frame's header says of the length of its content (RFC 8878, section 3.1.1.1). */
function contentLength(frame: Uint8Array): number | undefined {
  if (frame.length < 6 || MAGIC.some((byte, i) => frame[i] !== byte)) return undefined;
  const descriptor = frame[4]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  if (sizeFlag === 0 && !isSingleSegment) return undefined;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const at = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes;
  const bytes = 1 << sizeFlag;
  if (at + bytes > frame.length) return undefined;
  let length = 0;
  for (let i = bytes - 1; i >= 0; i--) length = length * 256 + frame[at + i]!;
  // Two bytes are enough for 256 to 65,791.
  return bytes === 2 ? length + 256 : length;
}
