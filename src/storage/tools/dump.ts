/**
 * Shows what a file of a store holds, as far as it can be read, and where it is damaged. One line for each part; with
 * `json`, each line is an object whose `kind` tells what it is.
 */
import type { FileSystem } from "../../env/env.ts";
import { fromUtf8 } from "../../lib/bytes.ts";
import { CURRENT, parseFileName } from "../file-names.ts";
import { readU32, readU64 } from "../fixed-width.ts";
import { decodeEdit, encodeCurrent, MANIFEST_MAGIC, type TableMeta } from "../manifest.ts";
import type { TableProperties } from "../table-format.ts";
import { WAL_MAGIC } from "../wal-files.ts";
import { RECORD_BATCH, RECORD_END } from "../wal-recovery.ts";
import {
  assertBatch,
  BATCH_HEADER_BYTES,
  EXPIRY_BYTES,
  OPERATION_DELETE,
  OPERATION_DELETE_RANGE,
  OPERATION_HEADER_BYTES,
  OPERATION_PUT_EXPIRING,
} from "../write-batch.ts";
import { type DataEntry, entriesOf } from "./data-block.ts";
import { type LogPart, surveyLog } from "./log-survey.ts";
import { hexOf, showBytes, showShortened } from "./printable.ts";
import { attempt, surveyTable } from "./table-survey.ts";
import { damageText } from "./verify-table.ts";

export interface DumpOptions {
  /** Values are left out. */
  readonly keysOnly: boolean;
  readonly json: boolean;
  /** How many entries or operations are shown. */
  readonly limit: number;
}

/** A line: its text, and its object. */
interface Line {
  readonly text: string;
  readonly json: Readonly<Record<string, unknown>>;
  readonly damaged?: boolean;
}

/** Bytes of a value that are shown as text. */
const VALUE_BYTES_MAX = 64;
const CURRENT_BYTES_MAX = 1024;

/** What kind of file it is, by its name or its first or last bytes, and its number, by its name. */
export interface DumpedFile {
  readonly kind: "table" | "wal" | "manifest" | "current";
  readonly number: number;
}

/** `undefined` if it is no file of a store. `number`: given by the user, for a file that has another name. Throws `FileError`. */
export function recognize(fs: FileSystem, path: string, number: number | undefined): DumpedFile | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const parsed = parseFileName(name);
  if (parsed !== undefined) return { kind: parsed.kind, number: number ?? parsed.number };
  if (name === CURRENT) return { kind: "current", number: 0 };
  const handle = fs.open(path, "read");
  try {
    const text = (at: number): string => {
      const bytes = new Uint8Array(8);
      handle.read(bytes, 0, 8, Math.max(0, at));
      return new TextDecoder("latin1").decode(bytes);
    };
    if (number === undefined) return undefined;
    if (text(0) === WAL_MAGIC) return { kind: "wal", number };
    if (text(0) === MANIFEST_MAGIC) return { kind: "manifest", number };
    return text(handle.size() - 8) === "FLOTTABL" ? { kind: "table", number } : undefined;
  } finally {
    handle.close();
  }
}

/** Writes the lines of a file, each without its end; whether all of it could be read. Throws `FileError`, and `NEWER`. */
export function dump(
  fs: FileSystem,
  path: string,
  { kind, number }: DumpedFile,
  options: DumpOptions,
  write: (line: string) => void,
): boolean {
  let whole = true;
  const lines =
    kind === "table"
      ? tableLines(fs, path, number, options)
      : kind === "current"
        ? currentLines(fs, path)
        : logLines(fs, path, kind, number, options);
  for (const { text, json, damaged } of lines) {
    if (damaged === true) whole = false;
    write(options.json ? JSON.stringify(json) : text);
  }
  return whole;
}

function* tableLines(fs: FileSystem, path: string, number: number, options: DumpOptions): Generator<Line> {
  let left = options.limit;
  let hidden = 0;
  for (const part of surveyTable(fs, path, number)) {
    const { offset, length } = part.at;
    const place = { offset, length };
    switch (part.kind) {
      case "footer":
        yield { text: `footer at ${offset}`, json: { kind: "footer", ...place, ...part.footer } };
        break;
      case "properties":
        yield {
          text: `properties at ${offset}: ${propertiesText(part.properties)}`,
          json: { kind: "properties", ...place, ...withKeys(part.properties) },
        };
        break;
      case "topIndex":
        yield {
          text: `top index at ${offset}, ${length} bytes: ${part.entries.length} partitions`,
          json: { kind: "topIndex", ...place, partitions: part.entries.length },
        };
        break;
      case "rangeTombstones":
        for (const { start, end, sequence } of part.tombstones)
          yield {
            text: `range tombstone ${showBytes(start)} up to ${showBytes(end)} @${sequence}`,
            json: {
              kind: "rangeTombstone",
              sequence,
              ...keyFields("start", start),
              ...keyFields("end", end),
            },
          };
        break;
      case "partition":
        yield {
          text: `partition at ${offset}, ${length} bytes: ${part.entries.length} data blocks`,
          json: { kind: "partition", ...place, dataBlocks: part.entries.length },
        };
        break;
      case "data":
        if (left > 0)
          yield {
            text: `data block at ${offset}, ${length} bytes${part.searched ? ", found without the index" : ""}`,
            json: { kind: "data", ...place, searched: part.searched },
          };
        for (const entry of entriesOf(part.block)) {
          if (left > 0) yield entryLine(entry, options);
          else hidden++;
          left--;
        }
        break;
      case "damage":
        yield damageLine(offset, damageText(part));
        break;
    }
  }
  if (hidden > 0) yield { text: `and ${hidden} more entries`, json: { kind: "hidden", entries: hidden } };
}

function entryLine(
  { key, sequence, tombstone, expiresAt, value }: DataEntry,
  { keysOnly }: DumpOptions,
): Line {
  const shown = tombstone ? "delete" : keysOnly ? "put" : `put ${showShortened(value, VALUE_BYTES_MAX)}`;
  const expiry = expiresAt === 0 ? "" : ` until ${expiresAt}`;
  return {
    text: `  ${showBytes(key)} @${sequence} ${shown}${expiry}`,
    json: {
      kind: "entry",
      operation: tombstone ? "delete" : "put",
      sequence,
      ...(expiresAt === 0 ? {} : { expiresAt }),
      ...keyFields("key", key),
      ...(tombstone || keysOnly ? {} : { valueHex: hexOf(value) }),
    },
  };
}

function* logLines(
  fs: FileSystem,
  path: string,
  kind: "wal" | "manifest",
  number: number,
  options: DumpOptions,
): Generator<Line> {
  let left = options.limit;
  for (const part of surveyLog(fs, path, kind === "wal" ? WAL_MAGIC : MANIFEST_MAGIC, number)) {
    if (part.kind === "header") {
      const mark =
        part.mark === 0 && kind === "wal"
          ? "not begun"
          : kind === "wal"
            ? `begins with record ${part.mark}`
            : "";
      yield {
        text: `header: ${kind === "wal" ? "log" : "manifest"} ${number}${mark === "" ? "" : `, ${mark}`}`,
        json: { kind: "header", file: kind, number, mark: part.mark },
      };
    } else if (part.kind === "damage") {
      yield* logDamage(part);
    } else if (kind === "manifest") {
      const { offset, payload } = part;
      const edit = attempt(() => decodeEdit(payload, path, offset));
      if (!edit.ok) {
        yield damageLine(offset, edit.what);
        continue;
      }
      const { nextFileNumber, lastSequence, flushedRecord, added, removed } = edit.value;
      yield {
        text: `edit at ${offset}: next file ${nextFileNumber}, last sequence ${lastSequence}, flushed record ${flushedRecord}`,
        json: {
          kind: "edit",
          offset,
          nextFileNumber,
          lastSequence,
          flushedRecord,
          removed,
          added: added.map(withKeys),
        },
      };
      for (const removedNumber of removed) yield* textOnly(options, `  - table ${removedNumber}`);
      for (const meta of added) yield* textOnly(options, `  + ${metaText(meta)}`);
    } else if (part.type === RECORD_END) {
      yield { text: `end of the log at ${part.offset}`, json: { kind: "end", offset: part.offset } };
      return;
    } else {
      const { offset, payload, durable } = part;
      const batch = attempt(() => {
        if (part.type !== RECORD_BATCH) throw new RangeError(`a record has the unknown type ${part.type}`);
        assertBatch(payload, 0, payload.length);
        return [...operationsOf(payload)];
      });
      if (!batch.ok) {
        yield damageLine(offset, batch.what);
        continue;
      }
      const record = readU64(payload, 0);
      const operations = batch.value;
      if (left > 0)
        yield {
          text: `record ${record} at ${offset}: ${operations.length} operations, durable up to ${durable} before`,
          json: { kind: "record", offset, record, operations: operations.length, durable },
        };
      for (const operation of operations) if (left-- > 0) yield operationLine(operation, options);
    }
  }
  if (left < 0) yield { text: `and ${-left} more operations`, json: { kind: "hidden", operations: -left } };
}

function* textOnly({ json }: DumpOptions, text: string): Generator<Line> {
  if (!json) yield { text, json: {} };
}

function* logDamage(part: LogPart & { kind: "damage" }): Generator<Line> {
  if (part.isTail && part.offset > 0)
    yield {
      text: `the records end at ${part.offset}: ${part.what}; what is behind was never finished, or is old`,
      json: { kind: "tail", offset: part.offset, what: part.what },
    };
  else yield damageLine(part.offset, `${part.what}; the next record is at ${part.end}`);
}

/** An operation of a batch. */
export interface Operation {
  readonly kind: number;
  readonly key: Uint8Array;
  /** Without its time; for a delete of a range, the end of it. */
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

/** The operations of a batch that `assertBatch` found whole; their bytes are borrowed. */
export function* operationsOf(batch: Uint8Array): Generator<Operation> {
  let at = BATCH_HEADER_BYTES;
  for (let left = readU32(batch, 8); left > 0; left--) {
    const kind = batch[at]!;
    const keyEnd = at + OPERATION_HEADER_BYTES + readU32(batch, at + 1);
    const end = keyEnd + readU32(batch, at + 5);
    const expiring = kind === OPERATION_PUT_EXPIRING;
    yield {
      kind,
      key: batch.subarray(at + OPERATION_HEADER_BYTES, keyEnd),
      value: batch.subarray(keyEnd + (expiring ? EXPIRY_BYTES : 0), end),
      expiresAt: expiring ? readU64(batch, keyEnd) : 0,
    };
    at = end;
  }
}

function operationLine({ kind, key, value, expiresAt }: Operation, options: DumpOptions): Line {
  if (kind === OPERATION_DELETE_RANGE)
    return {
      text: `  delete ${showBytes(key)} up to ${showBytes(value)}`,
      json: {
        kind: "operation",
        operation: "deleteRange",
        ...keyFields("start", key),
        ...keyFields("end", value),
      },
    };
  const tombstone = kind === OPERATION_DELETE;
  const line = entryLine({ key, sequence: 0, tombstone, expiresAt, value }, options);
  const { sequence: _none, ...json } = line.json;
  return { text: line.text.replace(" @0 ", " "), json: { ...json, kind: "operation" } };
}

function* currentLines(fs: FileSystem, path: string): Generator<Line> {
  const handle = fs.open(path, "read");
  try {
    const bytes = new Uint8Array(Math.min(CURRENT_BYTES_MAX, handle.size()));
    handle.read(bytes, 0, bytes.length, 0);
    const text = new TextDecoder("latin1").decode(bytes);
    const name = text.slice(0, text.indexOf(" "));
    const whole = parseFileName(name)?.kind === "manifest" && text === fromUtf8(encodeCurrent(name));
    if (whole) yield { text: `names ${name}`, json: { kind: "current", manifest: name } };
    else yield damageLine(0, `${showBytes(bytes)} is not the name of a manifest with its checksum`);
  } finally {
    handle.close();
  }
}

function damageLine(offset: number, what: string): Line {
  return { text: `DAMAGED at ${offset}: ${what}`, json: { kind: "damage", offset, what }, damaged: true };
}

function propertiesText(properties: TableProperties): string {
  const { smallestKey, largestKey, largestKeyIncluded, ...numbers } = properties;
  const counts = Object.entries(numbers).map(([name, number]) => `${name} ${number}`);
  return `${counts.join(", ")}, keys ${showBytes(smallestKey)} ${largestKeyIncluded ? "to" : "up to"} ${showBytes(largestKey)}`;
}

function metaText({
  number,
  level,
  bytes,
  smallestKey,
  largestKey,
  largestKeyIncluded,
  ...rest
}: TableMeta): string {
  const counts = Object.entries(rest).map(([name, count]) => `${name} ${count}`);
  return `table ${number} in level ${level}, ${bytes} bytes, ${counts.join(", ")}, keys ${showBytes(smallestKey)} ${largestKeyIncluded ? "to" : "up to"} ${showBytes(largestKey)}`;
}

/** The object with its keys in a form that JSON can hold. */
function withKeys<Keyed extends { readonly smallestKey: Uint8Array; readonly largestKey: Uint8Array }>(
  keyed: Keyed,
): Record<string, unknown> {
  const { smallestKey, largestKey, ...rest } = keyed;
  return { ...rest, ...keyFields("smallestKey", smallestKey), ...keyFields("largestKey", largestKey) };
}

function keyFields(name: string, key: Uint8Array): Record<string, string> {
  return { [name]: showBytes(key), [`${name}Hex`]: hexOf(key) };
}
