/**
 * What has to be done so that a damaged store can be opened again, and what is lost by it: found by reading all of it,
 * without changing anything.
 *
 * Where the manifest can be read, each table that is damaged is replaced by what can be read of it, in the same place. Where
 * it can't, the tables themselves are all that is known. Their levels are not, and the levels are what says which of two
 * tables has the newer versions of a key: so tables that overlap are merged by the sequence numbers of their entries.
 */
import type { FileSystem } from "../../env/env.ts";
import { CURRENT, fileName, filePath } from "../file-names.ts";
import { byStart, overlap, rangeOf } from "../key-range.ts";
import { type ManifestState, metaOf, readManifest, type TableMeta } from "../manifest.ts";
import { corrupt, StorageError } from "../storage-error.ts";
import type { TableProperties } from "../table-format.ts";
import { WAL_MAGIC } from "../wal-files.ts";
import { surveyWal } from "../wal-recovery.ts";
import { entriesOf } from "./data-block.ts";
import { surveyLog } from "./log-survey.ts";
import { type ManifestSurvey, surveyManifests } from "./manifest-survey.ts";
import { counted, showBytes, showSize } from "./printable.ts";
import type { Problem } from "./problem.ts";
import { type LogSalvage, salvageLog } from "./salvage-log.ts";
import { attempt, surveyTable } from "./table-survey.ts";
import { type Inventory, inventoryOf, missingText, type Progress } from "./verify.ts";
import { damageText, verifyTable } from "./verify-table.ts";

export interface RepairOptions {
  /** Also take the log's batches that lie behind the first damage. */
  readonly afterDamage: boolean;
}

export interface RepairPlan {
  readonly directory: string;
  /** What keeps the store from being opened, or read. None: there is nothing to do. */
  readonly problems: readonly Problem[];
  /** What will be done, a sentence each. */
  readonly steps: readonly string[];
  /** What is lost, and what can't be known, a sentence each. */
  readonly losses: readonly string[];

  readonly inventory: Inventory;
  readonly options: RepairOptions;
  /** Tables that stay as they are. */
  readonly kept: readonly TableMeta[];
  /** Tables of which what can be read is written anew, and the level that it belongs to. */
  readonly salvaged: readonly { readonly number: number; readonly level: number }[];
  /** The levels are not known: tables that overlap are merged. */
  readonly merges: boolean;
  /** The log is written to tables, as far as it can be read, and begins anew. */
  readonly replacesLog: boolean;
  readonly nextFileNumber: number;
  readonly lastSequence: number;
  /** Up to which record the log is in tables: before the repair, and after it. */
  readonly flushedBefore: number;
  readonly flushedRecord: number;
}

/** Reads all of the store in `directory` and plans its repair. Throws `FileError`, and `NEWER`. */
export function planRepair(
  fs: FileSystem,
  directory: string,
  options: RepairOptions,
  progress: Progress,
): RepairPlan {
  return new Planning(fs, directory, options, progress).plan();
}

class Planning {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #options: RepairOptions;
  readonly #progress: Progress;
  readonly #inventory: Inventory;
  readonly #problems: Problem[] = [];
  readonly #steps: string[] = [];
  readonly #losses: string[] = [];
  readonly #kept: TableMeta[] = [];
  readonly #salvaged: { number: number; level: number }[] = [];
  #lastSequence = 0;

  constructor(fs: FileSystem, directory: string, options: RepairOptions, progress: Progress) {
    this.#fs = fs;
    this.#directory = directory;
    this.#options = options;
    this.#progress = progress;
    this.#inventory = inventoryOf(fs, directory);
  }

  plan(): RepairPlan {
    const { tables, logs, manifests } = this.#inventory;
    const paths = [
      ...tables.map((number) => filePath(this.#directory, number, "table")),
      ...logs.map((number) => filePath(this.#directory, number, "wal")),
    ];
    this.#progress.begin(paths.reduce((sum, path) => sum + this.#size(path), 0));
    const survey = surveyManifests(this.#fs, this.#directory, manifests);
    const state = this.#state(survey);
    const flushedRecord = state?.flushedRecord ?? Math.max(survey.flushedRecord, this.#firstRecord() - 1);
    this.#lastSequence = Math.max(state?.lastSequence ?? 0, survey.lastSequence);
    if (state === undefined) this.#planWithoutManifest(survey);
    else this.#planTables(state);
    const salvage = this.#planLog(flushedRecord, state !== undefined);
    const numbers = [...tables, ...logs, ...manifests].map((number) => number + 1);
    return {
      directory: this.#directory,
      problems: this.#problems,
      steps: this.#steps,
      losses: this.#losses,
      inventory: this.#inventory,
      options: this.#options,
      kept: this.#kept,
      salvaged: this.#salvaged,
      merges: state === undefined,
      replacesLog: salvage !== undefined,
      nextFileNumber: Math.max(1, survey.nextFileNumber, state?.nextFileNumber ?? 0, ...numbers),
      lastSequence: this.#lastSequence,
      flushedBefore: flushedRecord,
      flushedRecord: salvage?.highest ?? flushedRecord,
    };
  }

  /** The tables that make up the store, if that can be known. */
  #state(survey: ManifestSurvey): ManifestState | undefined {
    const { tables } = this.#inventory;
    let problem: Problem;
    try {
      const state = readManifest(this.#fs, this.#directory);
      if (state !== undefined) return this.#trusted(state);
      throw corrupt(
        `${this.#directory}/${CURRENT}`,
        0,
        "the file is missing, but there are tables, logs or manifests",
      );
    } catch (error) {
      if (!(error instanceof StorageError) || error.damage === undefined) throw error;
      problem = error.damage;
    }
    this.#problems.push(problem);
    // Another manifest counts only if the directory is just as it describes it: else it may be an older one.
    const { state } = survey;
    if (state === undefined || state.tables.length !== tables.length) return undefined;
    if (!state.tables.every(({ number }) => tables.includes(number))) return undefined;
    this.#steps.push("the manifest that is there describes exactly the tables that are there: it is taken");
    return this.#trusted(state);
  }

  /** The state, unless it can't be the one that the tables are in. */
  #trusted(state: ManifestState): ManifestState | undefined {
    const { tables: present } = this.#inventory;
    const missing = state.tables.filter(({ number }) => !present.includes(number));
    // Where some tables are missing and others are there instead, the manifest's last edits may be what is lost.
    if (
      missing.length > 0 &&
      present.some((number) => state.tables.every((table) => table.number !== number))
    ) {
      for (const meta of missing)
        this.#problems.push({ path: this.#directory, offset: 0, what: missingText(meta) });
      this.#losses.push(
        "The manifest names tables that are missing, and there are others that it does not name. It may be that they replaced those that are missing, and that the manifest's last edits are lost: all tables that are there are taken.",
      );
      return undefined;
    }
    for (const [level, tables] of Map.groupBy(state.tables, (table) => table.level)) {
      const sorted = tables.toSorted(byStart);
      for (let i = 1; level > 0 && i < sorted.length; i++) {
        if (!overlap(sorted[i - 1]!, sorted[i]!)) continue;
        const what = `tables ${sorted[i - 1]!.number} and ${sorted[i]!.number} of level ${level} overlap`;
        this.#problems.push({ path: `${this.#directory}/${CURRENT}`, offset: 0, what });
        return undefined;
      }
    }
    return state;
  }

  #planTables(state: ManifestState): void {
    const present = new Set(this.#inventory.tables);
    for (const meta of state.tables) {
      if (!present.has(meta.number)) {
        this.#problems.push({ path: this.#directory, offset: 0, what: missingText(meta) });
        this.#losses.push(`${missingText(meta)}; ${OLDER}`);
        continue;
      }
      if (this.#isFine(meta.number, meta)) this.#kept.push(meta);
      else this.#salvage(meta.number, meta.level, meta);
    }
  }

  #planWithoutManifest(survey: ManifestSurvey): void {
    const dead = this.#inventory.tables.filter((number) => survey.removed.has(number));
    const tables = this.#inventory.tables.filter((number) => !survey.removed.has(number));
    for (const number of tables) {
      const properties = this.#isFine(number, undefined) ? this.#propertiesOf(number) : undefined;
      if (properties === undefined) this.#salvage(number, 0, undefined);
      else {
        const bytes = this.#size(filePath(this.#directory, number, "table"));
        this.#kept.push(metaOf({ ...properties, number, bytes }, 0));
        this.#lastSequence = Math.max(this.#lastSequence, properties.largestSequence);
      }
    }
    const groups = overlapGroups(this.#kept).filter((group) => group.length > 1);
    const bytes = groups.flat().reduce((sum, table) => sum + table.bytes, 0);
    this.#steps.push(
      `a new manifest is made from the ${counted(tables.length, "table")} that are there; those that overlap (${showSize(bytes)}) are merged into new ones, which takes as much space again`,
    );
    if (dead.length > 0)
      this.#steps.push(
        `${counted(dead.length, "table")} that some manifest says had been removed stay out: ${dead.map((n) => fileName(n, "table")).join(", ")}`,
      );
    this.#losses.push(
      survey.edits === 0
        ? "Nothing can be read of what the manifest said. Nobody can tell whether a table is missing."
        : `Of the manifests ${counted(survey.edits, "edit")} can be read, and those that can't may have added tables that are missing now: nobody can tell.`,
      "A table that a compaction had replaced, and whose file was not removed yet, is taken for part of the store: keys that had been deleted may be back. Values that were overwritten are not.",
      "Log batches that were in tables already are applied again. That changes nothing, unless values were also written past the log (`wal: false`): of those, some may have gone back to an older value.",
    );
  }

  /** Whether a table can stay as it is; notes what is wrong otherwise. */
  #isFine(number: number, meta: TableMeta | undefined): boolean {
    const path = filePath(this.#directory, number, "table");
    const { problems } = verifyTable(this.#fs, path, number, meta, (bytes) => this.#progress.advance(bytes));
    const size = this.#size(path);
    const isWhole = meta === undefined || meta.bytes === size;
    this.#problems.push(...problems);
    if (!isWhole && problems.length === 0)
      this.#problems.push({
        path,
        offset: size,
        what: `the file has ${size} bytes, and was written with ${meta.bytes}`,
      });
    return problems.length === 0 && isWhole;
  }

  #propertiesOf(number: number): TableProperties | undefined {
    for (const part of surveyTable(this.#fs, filePath(this.#directory, number, "table"), number))
      if (part.kind === "properties") return part.properties;
    return undefined;
  }

  #salvage(number: number, level: number, meta: TableMeta | undefined): void {
    const path = filePath(this.#directory, number, "table");
    let entries = 0;
    let ranges = 0;
    let properties: TableProperties | undefined;
    const damage: string[] = [];
    for (const part of surveyTable(this.#fs, path, number)) {
      if (part.kind === "data") {
        for (const { sequence } of entriesOf(part.block)) {
          entries++;
          if (sequence > this.#lastSequence) this.#lastSequence = sequence;
        }
      } else if (part.kind === "rangeTombstones") ranges += part.tombstones.length;
      else if (part.kind === "properties") properties = part.properties;
      else if (part.kind === "damage") damage.push(damageText(part));
    }
    const had = meta ?? properties;
    this.#salvaged.push({ number, level });
    const of = had === undefined ? "" : ` of ${had.entries}`;
    this.#steps.push(
      entries + ranges === 0
        ? `${fileName(number, "table")}: nothing can be read`
        : `${fileName(number, "table")}: ${counted(entries, "entry", "entries")}${of} are written to a new table`,
    );
    const lost = had === undefined ? undefined : had.entries - entries;
    const lostRanges = had === undefined ? undefined : had.rangeTombstones - ranges;
    const range =
      had === undefined
        ? ""
        : `; its keys are from ${showBytes(had.smallestKey)} to ${showBytes(had.largestKey)}`;
    if (lost === 0 && lostRanges === 0) return;
    this.#losses.push(
      `${fileName(number, "table")}: ${lost === undefined ? "nobody can tell how many entries are" : `${counted(lost, "entry is", "entries are")}`} lost${range}${damage.map((text) => `; ${text}`).join("")}; ${OLDER}`,
    );
    if (lostRanges !== undefined && lostRanges > 0)
      this.#losses.push(
        `${fileName(number, "table")}: ${counted(lostRanges, "delete", "deletes")} of ranges of keys are lost: what they deleted may be back`,
      );
  }

  /** What becomes of the log; `undefined`: it is fine, and stays. */
  #planLog(flushedRecord: number, isKnown: boolean): LogSalvage | undefined {
    const { logs } = this.#inventory;
    const survey = attempt(() => surveyWal(this.#fs, this.#directory, logs, flushedRecord));
    if (survey.ok) return undefined;
    const { damage, what } = survey;
    this.#problems.push(damage ?? { path: this.#directory, offset: 0, what });
    const { afterDamage } = this.#options;
    const batches = salvageLog(this.#fs, this.#directory, logs, flushedRecord, afterDamage);
    let batch = batches.next();
    while (batch.done !== true) batch = batches.next();
    const salvage = batch.value;
    this.#steps.push(
      `the log: ${counted(salvage.applied, "batch", "batches")} that are in no table yet are written to tables, and a new log begins`,
    );
    for (const [first, last] of salvage.gaps) {
      const records =
        last === undefined
          ? `from record ${first} on`
          : first === last
            ? `record ${first}`
            : `records ${first} to ${last}`;
      this.#losses.push(
        `the log: ${records} can't be read${last === undefined ? ", if there were any more" : ""}: these batches are lost`,
      );
    }
    if (salvage.passedOver > 0)
      this.#losses.push(
        `the log: ${counted(salvage.passedOver, "batch", "batches")} behind the damage can be read, and are left out, so that the store is as it was at one moment; --after-damage takes them as well`,
      );
    if (!isKnown && salvage.gaps.length > 0)
      this.#losses.push(
        "the log: since it is not known which batches were in tables already, keys that were written in the lost batches and before them may have gone back to an older value",
      );
    return salvage;
  }

  /** The number of the first record that the log still has. Those before it are in tables, or it would have them. */
  #firstRecord(): number {
    for (const number of this.#inventory.logs) {
      for (const part of surveyLog(this.#fs, filePath(this.#directory, number, "wal"), WAL_MAGIC, number)) {
        if (part.kind !== "header") break;
        if (part.mark > 0) return part.mark;
      }
    }
    return 1;
  }

  #size(path: string): number {
    const handle = this.#fs.open(path, "read");
    try {
      return handle.size();
    } finally {
      handle.close();
    }
  }
}

const OLDER = "of keys in it an older value may show, and a delete of one may be undone";

/** Tables that overlap, directly or by way of others, are in one group. */
export function overlapGroups<Table extends TableMeta>(tables: readonly Table[]): Table[][] {
  const groups: Table[][] = [];
  for (const table of tables.toSorted(byStart)) {
    const last = groups.at(-1);
    if (last !== undefined && overlap(rangeOf(last), table)) last.push(table);
    else groups.push([table]);
  }
  return groups;
}
