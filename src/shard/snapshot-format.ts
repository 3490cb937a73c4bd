/**
 * What the parts of a snapshot carry: first the head (`snapshot-head.ts`), in slices, then the entries of the shard in the
 * order of their keys.
 */
import { ByteWriter, CborReader } from "../../protocol/cbor.ts";
import { KEY_BYTES_MAX } from "../../protocol/limits.ts";
import { HEAD_BYTES_MAX } from "./snapshot-head.ts";

export type { SnapshotHead } from "./snapshot-head.ts";

/** How a snapshot is cut up and sent. */
export interface SnapshotSizes {
  /** About how large a part is; one with a large value is larger. */
  readonly partBytes: number;
  /** Most bytes of parts that are on their way; one part alone may be larger. They are kept, to be sent again. */
  readonly windowBytes: number;
  /**
   * A receiver that takes nothing for so long is given up, and so long has one that has got all to go on from there. More than
   * the second after which parts are sent again.
   */
  readonly giveUpMs: number;
}

export const DEFAULT_SNAPSHOT_SIZES: SnapshotSizes = {
  partBytes: 128 * 1024,
  windowBytes: 1024 * 1024,
  giveUpMs: 30_000,
};

const HEAD = 0;
const ENTRIES = 1;

/** The part that has the slice of `head` from `at` to `end`. */
export function encodeHeadSlice(head: Uint8Array, at: number, end: number): Uint8Array {
  const writer = new ByteWriter();
  writer.arrayHeader(2);
  writer.uint(HEAD);
  writer.bytes(head.subarray(at, end));
  return writer.copy();
}

/** Gathers the entries of one part. */
export class EntriesPart {
  readonly #partBytes: number;
  readonly #writer: ByteWriter;

  constructor(partBytes: number) {
    this.#partBytes = partBytes;
    this.#writer = new ByteWriter(partBytes);
    this.#begin();
  }

  get isFull(): boolean {
    return this.#writer.length >= this.#partBytes;
  }

  /** `expiresAt`: as the engine has it, 0 for what stays. */
  add(key: Uint8Array, value: Uint8Array, expiresAt: number): void {
    this.#writer.bytes(key);
    this.#writer.bytes(value);
    this.#writer.uint(expiresAt);
  }

  /** The part, owned by the caller; the next one is begun. */
  take(): Uint8Array {
    this.#writer.endArray();
    const part = this.#writer.copy();
    this.#begin();
    return part;
  }

  #begin(): void {
    this.#writer.reset();
    this.#writer.beginArray();
    this.#writer.uint(ENTRIES);
  }
}

/** Takes an entry, borrowed. */
export type EntryVisitor = (key: Uint8Array, value: Uint8Array, expiresAt: number) => void;

/**
 * Reads the parts of a stream, in their order. The slices of the head are gathered, up to a limit; nothing of it may follow
 * on the first entries.
 */
export class PartReader {
  #slices: Uint8Array[] = [];
  #bytes = 0;
  #hasEntries = false;

  /** Reads a part: entries go to `visit`, borrowed. Throws `ProtocolError` (BAD_REQUEST); some may have been visited by then. */
  read(part: Uint8Array, visit: EntryVisitor): void {
    const reader = new CborReader(part);
    const items = reader.arrayHeader();
    const kind = reader.uint();
    if (kind === HEAD && items === 2 && !this.#hasEntries) this.#addSlice(reader);
    else if (kind === ENTRIES && items === -1) {
      this.#hasEntries = true;
      while (!reader.atBreak()) {
        const key = reader.bytes();
        if (key.length > KEY_BYTES_MAX) reader.refuse(`a key of ${key.length} bytes in a snapshot`);
        visit(key, reader.bytes(), reader.uint());
      }
    } else reader.refuse(`a snapshot's part of kind ${kind} with ${items} items`);
    reader.expectEnd();
  }

  /** Whether entries have come, and the head is whole because of that. */
  get hasEntries(): boolean {
    return this.#hasEntries;
  }

  /** The bytes of the head, which is whole; they are not kept here. */
  takeHead(): Uint8Array {
    const bytes = new Uint8Array(this.#bytes);
    let at = 0;
    for (const slice of this.#slices) {
      bytes.set(slice, at);
      at += slice.length;
    }
    this.#slices = [];
    return bytes;
  }

  #addSlice(reader: CborReader): void {
    const slice = reader.bytes().slice();
    this.#bytes += slice.length;
    if (this.#bytes > HEAD_BYTES_MAX) reader.refuse(`a snapshot's head of more than ${HEAD_BYTES_MAX} bytes`);
    this.#slices.push(slice);
  }
}
