import { ByteWriter } from "../../protocol/cbor.ts";
import { Slab } from "../lib/slab.ts";
import { CommandBatchReader } from "./command-batch.ts";

/** How many writers are kept that nobody uses: about as many shards gather commands in one turn of the event loop. */
const SPARE_WRITERS_MAX = 64;

/**
 * What the data of log entries are gathered in, cut from and read with, for all shards of a node: a shard has none of it
 * while nobody writes to it.
 */
export class EntryBuffers {
  /** Whoever applies an entry has it until that is applied. */
  readonly reader = new CommandBatchReader();
  readonly #slab: Slab;
  readonly #spare: ByteWriter[] = [];

  /** `slabBytes`: how large the buffers are that the data are cut from (`Slab`). */
  constructor(slabBytes: number) {
    this.#slab = new Slab(slabBytes);
  }

  /** An empty writer, to be given back. */
  lend(): ByteWriter {
    return this.#spare.pop() ?? new ByteWriter();
  }

  giveBack(writer: ByteWriter): void {
    writer.reset();
    if (this.#spare.length < SPARE_WRITERS_MAX) this.#spare.push(writer);
  }

  /** A copy that never changes, owned by the caller. */
  copy(bytes: Uint8Array): Uint8Array {
    return this.#slab.copy(bytes);
  }
}
