import { ByteWriter } from "../../protocol/cbor.ts";
import { Slab } from "../lib/slab.ts";
import { CommandBatchReader } from "./command-batch.ts";

/**
 * Most bytes of writers that are kept though nobody uses them. All shards of a node may gather at a time, as long as a flush
 * is under way, and each should find one again. Large ones may take a part of it only: else a few of them would leave no room
 * for the many, and stay.
 */
const SPARE_BYTES_MAX = 8 * 1024 * 1024;
const SPARE_LARGE_BYTES_MAX = 4 * 1024 * 1024;
/** A writer that has more than this is a large one. */
const LARGE_BYTES = 64 * 1024;

/**
 * What the data of log entries are gathered in, cut from and read with, for all shards of a node: a shard has none of it
 * while nobody writes to it.
 */
export class EntryBuffers {
  /** Whoever applies an entry has it until that is applied. */
  readonly reader = new CommandBatchReader();
  readonly #slab: Slab;
  readonly #spare: ByteWriter[] = [];
  #spareBytes = 0;

  /** `slabBytes`: how large the buffers are that the data are cut from (`Slab`). */
  constructor(slabBytes: number) {
    this.#slab = new Slab(slabBytes);
  }

  /** An empty writer, to be given back. */
  lend(): ByteWriter {
    const writer = this.#spare.pop();
    if (writer === undefined) return new ByteWriter();
    this.#spareBytes -= writer.capacity;
    return writer;
  }

  giveBack(writer: ByteWriter): void {
    writer.reset();
    const bytes = this.#spareBytes + writer.capacity;
    if (bytes > (writer.capacity > LARGE_BYTES ? SPARE_LARGE_BYTES_MAX : SPARE_BYTES_MAX)) return;
    this.#spare.push(writer);
    this.#spareBytes = bytes;
  }

  /** Bytes of the writers that are kept for the next who asks. */
  get spareBytes(): number {
    return this.#spareBytes;
  }

  /** A copy that never changes, owned by the caller. */
  copy(bytes: Uint8Array): Uint8Array {
    return this.#slab.copy(bytes);
  }
}
