/**
 * Splits an inline command (a line that someone typed) into its arguments, by the rules of Redis: blanks separate;
 * `"..."` knows the escapes \n \r \t \b \a \xHH and takes any other escaped byte as itself; `'...'` knows only `\'`; a
 * closing quote must be followed by a blank or by the end. `undefined`: the quotes are unbalanced.
 */
export function splitInline(line: Uint8Array): Uint8Array[] | undefined {
  const parts: Uint8Array[] = [];
  const buffer = new Uint8Array(line.length);
  let at = 0;
  for (;;) {
    while (at < line.length && isBlank(line[at]!)) at++;
    if (at === line.length) return parts;
    let length = 0;
    let quote = NONE;
    for (let done = false; !done; at++) {
      const byte = at < line.length ? line[at]! : END;
      if (quote === NONE) {
        if (byte === END || byte === SPACE || byte === TAB || byte === LF || byte === CR) done = true;
        else if (byte === DOUBLE || byte === SINGLE) quote = byte;
        else buffer[length++] = byte;
      } else if (byte === END) {
        return undefined;
      } else if (byte === quote) {
        if (at + 1 < line.length && !isBlank(line[at + 1]!)) return undefined;
        done = true;
      } else if (byte === BACKSLASH && quote === SINGLE && line[at + 1] === SINGLE) {
        buffer[length++] = SINGLE;
        at++;
      } else if (byte === BACKSLASH && quote === DOUBLE && at + 1 < line.length) {
        const high = hexDigit(line[at + 2]);
        const low = hexDigit(line[at + 3]);
        if (line[at + 1] === LETTER_X && high >= 0 && low >= 0) {
          buffer[length++] = high * 16 + low;
          at += 3;
        } else {
          buffer[length++] = ESCAPES.get(line[at + 1]!) ?? line[at + 1]!;
          at++;
        }
      } else {
        buffer[length++] = byte;
      }
    }
    if (at > line.length) at = line.length;
    parts.push(buffer.slice(0, length));
  }
}

const END = -1;
const NONE = 0;
const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const DOUBLE = 0x22;
const SINGLE = 0x27;
const BACKSLASH = 0x5c;
const LETTER_X = 0x78;

const ESCAPES = new Map<number, number>(
  [..."nrtba"].map((letter, index) => [letter.charCodeAt(0), [LF, CR, TAB, 0x08, 0x07][index]!]),
);

function isBlank(byte: number): boolean {
  return byte === SPACE || (byte >= TAB && byte <= CR);
}

/** -1: not a hexadecimal digit. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
