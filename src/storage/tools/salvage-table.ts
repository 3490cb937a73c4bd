import type { FileSystem } from "../../env/env.ts";
import { Entry } from "../cursor.ts";
import { filePath } from "../file-names.ts";
import { type TableOptions, TableWriter, type WrittenTable } from "../table-writer.ts";
import { type DataEntry, entriesOf, isBehind } from "./data-block.ts";
import { surveyTable } from "./table-survey.ts";

/** What of a damaged table could be read. */
export interface Salvaged {
  /** The new table, synced; `undefined` if nothing could be read. */
  readonly table: WrittenTable | undefined;
  readonly entries: number;
}

/**
 * Writes what can be read of the table `number` as a new table with the number `newNumber`: the same entries, but for those
 * in damaged blocks. The directory is left to the caller to sync. Throws `FileError`, and leaves no new table then.
 */
export function salvageTable(
  fs: FileSystem,
  directory: string,
  number: number,
  newNumber: number,
  options: TableOptions,
): Salvaged {
  const writer = new TableWriter(fs, directory, newNumber, options);
  try {
    const entry = new Entry();
    let last: DataEntry | undefined;
    for (const part of surveyTable(fs, filePath(directory, number, "table"), number)) {
      if (part.kind === "rangeTombstones") {
        for (const { start, end, sequence } of part.tombstones)
          writer.addRangeTombstone(start, end, sequence);
      }
      if (part.kind !== "data") continue;
      for (const found of entriesOf(part.block)) {
        if (last !== undefined && !isBehind(found, last)) continue;
        writer.add(asEntry(found, entry));
        last = found;
      }
    }
    if (writer.entries === 0 && writer.rangeTombstones === 0) {
      writer.abandon();
      return { table: undefined, entries: 0 };
    }
    const { entries } = writer;
    return { table: writer.finish(), entries };
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

function asEntry({ key, sequence, tombstone, expiresAt, value }: DataEntry, entry: Entry): Entry {
  entry.keyBytes = key;
  entry.keyEnd = key.length;
  entry.sequence = sequence;
  entry.tombstone = tombstone;
  entry.expiresAt = expiresAt;
  entry.valueBytes = value;
  entry.valueEnd = value.length;
  return entry;
}
