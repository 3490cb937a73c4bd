/**
 * Redis' glob patterns over bytes: `*`, `?`, `[abc]`, `[^abc]`, `[a-c]`, and a backslash that takes the next byte as it is.
 */

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const CARET = 0x5e;
const DASH = 0x2d;
const BACKSLASH = 0x5c;

/**
 * Whether all of `text` matches `pattern`. Takes at most pattern length × text length steps, however many stars there
 * are: on a mismatch only the last star is tried again, one byte further on.
 */
export function globMatches(pattern: Uint8Array, text: Uint8Array): boolean {
  let at = 0;
  let p = 0;
  let afterStar = -1;
  let starAt = 0;
  while (at < text.length) {
    if (pattern[p] === STAR) {
      afterStar = ++p;
      starAt = at;
      continue;
    }
    const next = p < pattern.length ? matchOne(pattern, p, text[at]!) : 0;
    if (next > 0) {
      p = next;
      at++;
    } else if (afterStar >= 0) {
      p = afterStar;
      at = ++starAt;
    } else {
      return false;
    }
  }
  while (pattern[p] === STAR) p++;
  return p === pattern.length;
}

/** The bytes that every match begins with. Owned by the caller. */
export function globPrefix(pattern: Uint8Array): Uint8Array {
  const prefix: number[] = [];
  for (let p = 0; p < pattern.length; p++) {
    const byte = pattern[p]!;
    if (byte === STAR || byte === QUESTION || byte === OPEN) break;
    if (byte === BACKSLASH && p + 1 < pattern.length) p++;
    prefix.push(pattern[p]!);
  }
  return Uint8Array.from(prefix);
}

/** Matches one byte with the element of the pattern at `p` (not a star): where the next element begins, or 0. */
function matchOne(pattern: Uint8Array, p: number, byte: number): number {
  const element = pattern[p]!;
  if (element === QUESTION) return p + 1;
  if (element === OPEN) return matchClass(pattern, p + 1, byte);
  if (element === BACKSLASH && p + 1 < pattern.length) return pattern[p + 1] === byte ? p + 2 : 0;
  return element === byte ? p + 1 : 0;
}

/** A class whose first byte after the bracket is at `start`. One that is never closed ends with the pattern, as in Redis. */
function matchClass(pattern: Uint8Array, start: number, byte: number): number {
  let p = start;
  const negated = pattern[p] === CARET;
  if (negated) p++;
  let found = false;
  for (; p < pattern.length && pattern[p] !== CLOSE; p++) {
    if (pattern[p] === BACKSLASH && p + 1 < pattern.length) {
      p++;
      if (pattern[p] === byte) found = true;
    } else if (pattern[p + 1] === DASH && p + 2 < pattern.length) {
      const low = Math.min(pattern[p]!, pattern[p + 2]!);
      const high = Math.max(pattern[p]!, pattern[p + 2]!);
      if (byte >= low && byte <= high) found = true;
      p += 2;
    } else if (pattern[p] === byte) {
      found = true;
    }
  }
  return found === negated ? 0 : Math.min(p + 1, pattern.length);
}
