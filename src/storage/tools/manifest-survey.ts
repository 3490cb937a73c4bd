/** What can still be known of which tables make up a store, where `CURRENT` or the manifest that it names is lost. */
import type { FileSystem } from "../../env/env.ts";
import { filePath } from "../file-names.ts";
import {
  decodeEdit,
  MANIFEST_MAGIC,
  type ManifestState,
  type TableMeta,
  type VersionEdit,
} from "../manifest.ts";
import { surveyLog } from "./log-survey.ts";
import { attempt } from "./table-survey.ts";

export interface ManifestSurvey {
  /** The state that the newest whole manifest tells; `undefined` if one is damaged, or there is none. */
  readonly state: ManifestState | undefined;
  /** Tables that were removed from the store, as some edit says that can be read. */
  readonly removed: ReadonlySet<number>;
  /** The highest numbers that any edit has. All of them only grow. */
  readonly nextFileNumber: number;
  readonly lastSequence: number;
  readonly flushedRecord: number;
  readonly edits: number;
}

/** Reads the manifests `numbers` (ascending). Throws `FileError`, and `NEWER`. */
export function surveyManifests(
  fs: FileSystem,
  directory: string,
  numbers: readonly number[],
): ManifestSurvey {
  const removed = new Set<number>();
  let nextFileNumber = 0;
  let lastSequence = 0;
  let flushedRecord = 0;
  let edits = 0;
  let isWhole = true;
  let newest: ManifestState | undefined;
  for (const number of numbers) {
    const path = filePath(directory, number, "manifest");
    const tables = new Map<number, TableMeta>();
    let last: VersionEdit | undefined;
    for (const part of surveyLog(fs, path, MANIFEST_MAGIC, number)) {
      if (part.kind === "damage" && !(part.isTail && last !== undefined)) isWhole = false;
      if (part.kind !== "record") continue;
      const edit = attempt(() => decodeEdit(part.payload, path, part.offset));
      if (!edit.ok) {
        isWhole = false;
        continue;
      }
      last = edit.value;
      edits++;
      // A table that moves to another level is removed and added.
      for (const gone of last.removed) {
        tables.delete(gone);
        removed.add(gone);
      }
      for (const table of last.added) {
        tables.set(table.number, table);
        removed.delete(table.number);
      }
      nextFileNumber = Math.max(nextFileNumber, last.nextFileNumber);
      lastSequence = Math.max(lastSequence, last.lastSequence);
      flushedRecord = Math.max(flushedRecord, last.flushedRecord);
    }
    // One that was just being made when the process ended has the same state as the one before.
    if (last !== undefined && (newest === undefined || last.nextFileNumber >= newest.nextFileNumber)) {
      const { nextFileNumber: next, lastSequence: sequence, flushedRecord: record } = last;
      newest = {
        nextFileNumber: next,
        lastSequence: sequence,
        flushedRecord: record,
        tables: [...tables.values()],
      };
    }
  }
  return { state: isWhole ? newest : undefined, removed, nextFileNumber, lastSequence, flushedRecord, edits };
}
