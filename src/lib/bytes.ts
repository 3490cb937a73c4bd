const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** UTF-8 bytes of `text`. The result is owned by the caller. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** `bytes` read as UTF-8; what is not UTF-8 becomes U+FFFD. */
export function fromUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Unsigned lexicographic order of two byte strings: negative, zero or positive. The order of all keys in Flotilla. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/** Whether two byte strings are equal. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/**
 * The smallest byte string greater than every string that begins with `prefix`, or `undefined` when there is none
 * (a prefix that is empty or all 0xFF). A prefix scan is the range from `prefix` up to and excluding it.
 */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return undefined;
  const end = new Uint8Array(prefix.subarray(0, length));
  end[length - 1]! += 1;
  return end;
}

/** One new array that holds all `parts` in order. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const joined = Buffer.concat(parts);
  // A Buffer's `slice` does not copy, and a Uint8Array's does: nobody should have to know which one this is.
  return new Uint8Array(joined.buffer, joined.byteOffset, joined.length);
}
