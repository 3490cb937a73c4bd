/**
 * What the data of a `commands` entry is: a header from the leader, and client commands back to back. Everything that
 * arrived for a shard during one turn of the event loop shares one entry, so that the cost of an entry (terms, indexes,
 * log items, messages) is paid once a batch and not once a command.
 *
 * The header is the leader's time and its `floor`: an index that every member had in its log when the entry was made.
 * Replicas judge sessions and deadlines by the one and may compact their logs up to the other.
 */

import { type ByteWriter, CborReader } from "../../protocol/cbor.ts";
import { decodeWrite, encodeWrite, type LogCommand } from "../../protocol/client.ts";
import { INDEX_ZERO, type LogIndex, logIndex } from "../../protocol/ids.ts";
import type { EntryBuffers } from "./entry-buffers.ts";
import { patchU64 } from "./log-segment.ts";

const HEADER_BYTES = 16;

/** Gathers commands for one entry. */
export class CommandBatch {
  readonly #buffers: EntryBuffers;
  /** While there is something. */
  #writer: ByteWriter | undefined;

  constructor(buffers: EntryBuffers) {
    this.#buffers = buffers;
  }

  get byteLength(): number {
    return this.#writer?.length ?? HEADER_BYTES;
  }

  add(request: LogCommand): void {
    encodeWrite(this.#begun(), request);
  }

  /** Adds a command that is encoded already; such a command is alone in its entry. */
  addRaw(bytes: Uint8Array): void {
    this.#begun().append(bytes);
  }

  /** The entry's data, owned by the caller; the batch is empty again. */
  take(timeMs: number, floor: LogIndex): Uint8Array {
    const writer = this.#begun();
    patchU64(writer, 0, timeMs);
    patchU64(writer, 8, floor);
    const data = this.#buffers.copy(writer.view());
    this.clear();
    return data;
  }

  /** Forgets the commands that were added. */
  clear(): void {
    if (this.#writer === undefined) return;
    this.#buffers.giveBack(this.#writer);
    this.#writer = undefined;
  }

  #begun(): ByteWriter {
    if (this.#writer !== undefined) return this.#writer;
    const writer = this.#buffers.lend();
    for (let at = 0; at < HEADER_BYTES; at += 4) writer.u32(0);
    this.#writer = writer;
    return writer;
  }
}

/** Walks the data of a `commands` entry. Reusable. */
export class CommandBatchReader {
  readonly #reader = new CborReader(new Uint8Array(0));
  #data: Uint8Array = new Uint8Array(0);
  /** The leader's time in milliseconds since the epoch. Another leader's clock may be behind: whoever applies sees to it. */
  timeMs = 0;
  /** Every member has the log up to here. */
  floor: LogIndex = INDEX_ZERO;

  open(data: Uint8Array): void {
    this.timeMs = readU64Of(data, 0);
    this.floor = logIndex(readU64Of(data, 8));
    this.#data = data;
    this.#reader.reset(data, HEADER_BYTES, data.length);
  }

  /** All that follows the header, for a group whose commands are not client commands. */
  rest(): Uint8Array {
    return this.#data.subarray(HEADER_BYTES);
  }

  /** The next command, whose bytes are views into the data; `undefined` at the end. */
  next(): LogCommand | undefined {
    return this.#reader.remaining === 0 ? undefined : decodeWrite(this.#reader);
  }
}

function readU64Of(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 8; i++) value = value * 256 + bytes[i]!;
  return value;
}
