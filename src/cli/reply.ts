/** What a command has to say, in each form that somebody may want to read it in. */
import Table from "cli-table3";
import type { KeyValue } from "../../protocol/messages.ts";
import { quote, quoteIfNeeded } from "./quoting.ts";

/** How text is shown. `tables`: a person reads it, not a program. */
export interface Look {
  readonly tables: boolean;
  readonly colors: boolean;
}

export interface Reply {
  /** `false`: the answer was no (no such key, a condition that did not hold); the exit code is 1. */
  readonly ok: boolean;
  /** Lines without a final newline. */
  text(look: Look): string;
  /** What `JSON.stringify` understands. */
  json(): unknown;
  /** What follows on it, if anything does: to be asked for when this was shown. */
  readonly next?: () => Promise<Reply>;
  /** The answer changes, and is wanted again after a while (`--watch`). */
  readonly again?: { readonly afterMs: number; ask(): Promise<Reply> };
  /** The bytes alone, for `--raw`; without it the text serves. */
  raw?(): Uint8Array;
}

/** A plain sentence or word, and the same for programs. */
export function textReply(ok: boolean, text: string, json: unknown): Reply {
  return { ok, text: () => text, json: () => json };
}

export function valueReply(value: Uint8Array | undefined): Reply {
  return {
    ok: value !== undefined,
    text: () => (value === undefined ? "(nil)" : quote(value)),
    json: () => ({ found: value !== undefined, value: value === undefined ? null : bytesAsJson(value) }),
    raw: () => value ?? new Uint8Array(),
  };
}

export function integerReply(value: bigint): Reply {
  const number = Number(value);
  return {
    ok: true,
    text: () => `(integer) ${value}`,
    // A JSON number would lose digits that programs in most languages can't hold.
    json: () => ({ value: Number.isSafeInteger(number) ? number : String(value) }),
    raw: () => Buffer.from(String(value)),
  };
}

/** `more`: there are entries after the last one. */
export function entriesReply(entries: readonly KeyValue[], keysOnly: boolean, more: boolean): Reply {
  return {
    ok: true,
    text: (look) => {
      const lines = look.tables
        ? [entriesTable(entries, keysOnly)]
        : entries.map((e) => entryLine(e, keysOnly));
      if (entries.length === 0) lines.splice(0, lines.length, "(no keys)");
      const last = entries.at(-1);
      if (more && last !== undefined) {
        const next = quoteIfNeeded(Buffer.concat([last.key, Uint8Array.of(0)]));
        lines.push(`(there is more: raise --limit, or go on with --from ${next})`);
      }
      return lines.join("\n");
    },
    json: () => ({
      entries: entries.map(({ key, value }) =>
        keysOnly ? { key: bytesAsJson(key) } : { key: bytesAsJson(key), value: bytesAsJson(value) },
      ),
      more,
    }),
    raw: () =>
      Buffer.concat(
        entries.flatMap(({ key, value }) => (keysOnly ? [key, NEWLINE] : [key, TAB, value, NEWLINE])),
      ),
  };
}

const NEWLINE = Uint8Array.of(0x0a);
const TAB = Uint8Array.of(0x09);

const entryLine = ({ key, value }: KeyValue, keysOnly: boolean): string =>
  keysOnly ? quote(key) : `${quote(key)} ${quote(value)}`;

function entriesTable(entries: readonly KeyValue[], keysOnly: boolean): string {
  const table = plainTable(keysOnly ? ["key"] : ["key", "value"]);
  for (const { key, value } of entries) table.push(keysOnly ? [quote(key)] : [quote(key), quote(value)]);
  return table.toString();
}

/** An empty table without colors of its own. `right`: the columns whose cells are numbers. */
export function plainTable(head: string[], right: readonly number[] = []): Table.Table {
  return new Table({
    head,
    colAligns: head.map((_, column) => (right.includes(column) ? "right" : "left")),
    style: { head: [], border: [], compact: true },
  });
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Text where the bytes are UTF-8, else `{"base64": "..."}`. */
export function bytesAsJson(bytes: Uint8Array): string | { readonly base64: string } {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return { base64: Buffer.from(bytes).toString("base64") };
  }
}
