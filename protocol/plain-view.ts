/**
 * `bytes` as a Uint8Array that is no Buffer. Sockets give Buffers, whose `slice` doesn't copy: whoever slices a key to
 * keep it would keep a view of a whole chunk, or of bytes that change. One view a chunk settles that for all its parts.
 */
export function plainView(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array
    ? bytes
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
