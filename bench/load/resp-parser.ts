/** What a reply said; `error` has the text. */
export interface RespReplies {
  /** A status, an integer or a bulk string; `found` is false for a null. */
  answered(found: boolean): void;
  refused(error: string): void;
}

/** Longest status or error line; anything longer is not a reply of a Redis server. */
const LINE_BYTES_MAX = 64 * 1024;

const LF = 0x0a;
const MINUS = 0x2d;

/**
 * Reads the replies to GET and SET: `+OK`, `-ERR ...`, `:1`, `$3` with its bytes, and nulls. Bytes of values are counted,
 * not kept. Throws `Error` for anything else.
 */
export class RespParser {
  /** Bytes of a bulk string, with its line end, that have not come. */
  #skip = 0;
  /** The beginning of a line whose end has not come. */
  #partial: Uint8Array | undefined;

  /** Reads on in `chunk`, which is borrowed. */
  push(chunk: Uint8Array, replies: RespReplies): void {
    let bytes = chunk;
    if (this.#partial !== undefined) {
      bytes = Buffer.concat([this.#partial, chunk]);
      this.#partial = undefined;
    }
    let at = 0;
    while (at < bytes.length) {
      if (this.#skip > 0) {
        const taken = Math.min(this.#skip, bytes.length - at);
        this.#skip -= taken;
        at += taken;
        if (this.#skip === 0) replies.answered(true);
        continue;
      }
      const end = bytes.indexOf(LF, at);
      if (end < 0) {
        if (bytes.length - at > LINE_BYTES_MAX)
          throw new Error(`a line of more than ${LINE_BYTES_MAX} bytes came`);
        this.#partial = bytes.slice(at);
        return;
      }
      this.#line(bytes, at, end, replies);
      at = end + 1;
    }
  }

  /** `bytes[at, end)` is a line up to its line feed. */
  #line(bytes: Uint8Array, at: number, end: number, replies: RespReplies): void {
    switch (bytes[at]) {
      case 0x2b: // +
      case 0x3a: // :
        replies.answered(true);
        return;
      case 0x5f: // _
        replies.answered(false);
        return;
      case 0x2d: // -
        replies.refused(text(bytes, at + 1, end));
        return;
      case 0x24: // $
        if (bytes[at + 1] === MINUS) replies.answered(false);
        else this.#skip = length(bytes, at, end) + 2;
        return;
      default:
        throw new Error(`a reply began with ${JSON.stringify(text(bytes, at, end))}`);
    }
  }
}

function length(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = at + 1; i < end - 1; i++) {
    const digit = bytes[i]! - 48;
    if (!(digit >= 0 && digit <= 9)) throw new Error(`a bulk string has length ${text(bytes, at + 1, end)}`);
    value = value * 10 + digit;
  }
  return value;
}

function text(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.subarray(start, end)).toString().trimEnd();
}
