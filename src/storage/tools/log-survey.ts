/**
 * A walk through a file of records that goes on behind damage: for the tools that check, show and repair. The engine's own
 * reader stops there.
 */
import type { FileSystem } from "../../env/env.ts";
import { RecordReader } from "../record-reader.ts";
import { StorageError } from "../storage-error.ts";

export type LogPart =
  | {
      readonly kind: "header";
      /** The header's mark: see the kind of log. */
      readonly mark: number;
    }
  | {
      readonly kind: "record";
      readonly type: number;
      readonly offset: number;
      /** Borrowed until the next part. */
      readonly payload: Uint8Array;
      readonly durable: number;
    }
  | LogDamage;

/** Bytes that are no record. */
export interface LogDamage {
  readonly kind: "damage";
  readonly offset: number;
  /** Where the next record begins, or the file ends. */
  readonly end: number;
  readonly what: string;
  /** Nothing shows that there was something durable: the end of a write that was never finished, or of a file's earlier life. */
  readonly isTail: boolean;
}

/** Walks through the log `number` at `path`. Throws `FileError`, and `NEWER` for a file of a newer version. */
export function* surveyLog(
  fs: FileSystem,
  path: string,
  magic: string,
  number: number,
): Generator<LogPart, void, void> {
  let reader: RecordReader;
  try {
    reader = new RecordReader(fs, path, magic, number);
  } catch (error) {
    if (!(error instanceof StorageError) || error.damage === undefined) throw error;
    yield {
      kind: "damage",
      offset: error.damage.offset,
      end: error.damage.offset,
      what: error.damage.what,
      isTail: false,
    };
    return;
  }
  try {
    if (reader.headerFault === undefined) yield { kind: "header", mark: reader.mark };
    for (;;) {
      while (reader.next()) {
        const payload = reader.bytes.subarray(reader.start, reader.end);
        yield {
          kind: "record",
          type: reader.type,
          offset: reader.offset,
          payload,
          durable: reader.vouchedFor,
        };
      }
      const { fault } = reader;
      if (fault === undefined) return;
      const offset = reader.tail;
      const isTail = reader.findWitness(offset, offset) === undefined;
      const next = reader.findWitness(offset, -1);
      yield { kind: "damage", offset, end: next ?? reader.size, what: fault, isTail };
      if (next === undefined) return;
      reader.tail = next;
    }
  } finally {
    reader.close();
  }
}
