/**
 * Carries out a plan of repair. Nothing is destroyed: what the repair takes away stays in `lost/N` in the store's directory.
 *
 * New tables are written first. Then what will go gets its second name in `lost/N`, and only when that is durable the new
 * manifest takes over, with `CURRENT`: in one step. Last, what has gone loses its first name. So the power may fail at any
 * time: the repair is done or it can be begun again.
 */
import type { FileSystem } from "../../env/env.ts";
import { makeDurableDirectory } from "../durable-directory.ts";
import { CURRENT, fileName, filePath } from "../file-names.ts";
import { LSM_DEFAULTS, tableOptions } from "../lsm-options.ts";
import { ManifestWriter, metaOf, type TableMeta } from "../manifest.ts";
import { Memtable } from "../memtable.ts";
import { syncOrFail } from "../record-log.ts";
import { compactTables, flushMemtable } from "../table-building.ts";
import type { WrittenTable } from "../table-writer.ts";
import { overlapGroups, type RepairPlan } from "./repair-plan.ts";
import { salvageLog } from "./salvage-log.ts";
import { salvageTable } from "./salvage-table.ts";

/** Where what a repair takes away is kept, below the store's directory. */
const LOST = "lost";
/** The level for merged tables: nothing is below them. */
const DEEPEST = 6;

export interface Repaired {
  /** Where the files are that the repair took away, and their names; none if there are none. */
  readonly lost: string;
  readonly moved: readonly string[];
  /** Tables that were written. */
  readonly written: number;
}

/** Does what the plan says. Throws `FileError`; the store is as it was before then, or the repair can be begun again. */
export function repairStore(fs: FileSystem, plan: RepairPlan): Promise<Repaired> {
  return new Repair(fs, plan).run();
}

class Repair {
  readonly #fs: FileSystem;
  readonly #plan: RepairPlan;
  readonly #directory: string;
  /** Tables of the repaired store. */
  #tables: TableMeta[];
  /** File numbers that were written by this repair. */
  readonly #written = new Set<number>();
  #nextFileNumber: number;
  #lastSequence: number;

  constructor(fs: FileSystem, plan: RepairPlan) {
    this.#fs = fs;
    this.#plan = plan;
    this.#directory = plan.directory;
    this.#tables = [...plan.kept];
    this.#nextFileNumber = plan.nextFileNumber;
    this.#lastSequence = plan.lastSequence;
  }

  async run(): Promise<Repaired> {
    const fs = this.#fs;
    const directory = this.#directory;
    const lost = this.#lostDirectory();
    let moved: readonly string[];
    let linked: readonly string[];
    try {
      this.#salvageTables();
      if (this.#plan.merges) await this.#merge();
      if (this.#plan.replacesLog) await this.#writeLog();
      await syncOrFail(fs.syncDirectory(directory), directory);
      moved = this.#leaving();
      linked = this.#plan.inventory.hasCurrent ? [...moved, CURRENT] : moved;
      makeDurableDirectory(fs, lost);
      for (const name of linked) fs.link(`${directory}/${name}`, `${lost}/${name}`);
      await syncOrFail(fs.syncDirectory(lost), lost);
    } catch (error) {
      // As long as the old manifest counts, nothing hangs on what was written.
      for (const number of this.#written) fs.remove(filePath(directory, number, "table"));
      throw error;
    }
    const number = this.#nextFileNumber++;
    const { flushedRecord } = this.#plan;
    const manifest = await ManifestWriter.create(fs, directory, number, {
      nextFileNumber: this.#nextFileNumber,
      lastSequence: this.#lastSequence,
      flushedRecord,
      tables: this.#tables,
    });
    manifest.close();
    for (const name of moved) fs.remove(`${directory}/${name}`);
    await syncOrFail(fs.syncDirectory(directory), directory);
    const written = this.#tables.filter((table) => this.#written.has(table.number)).length;
    return { lost, moved: linked, written };
  }

  #salvageTables(): void {
    for (const { number, level } of this.#plan.salvaged) {
      const newNumber = this.#newNumber();
      const options = tableOptions(LSM_DEFAULTS, level);
      const { table } = salvageTable(this.#fs, this.#directory, number, newNumber, options);
      if (table !== undefined) this.#tables.push(metaOf(table, level));
    }
  }

  /** Every table goes into the deepest level; those that overlap are merged before. */
  async #merge(): Promise<void> {
    const merged: TableMeta[] = [];
    for (const group of overlapGroups(this.#tables)) {
      if (group.length === 1) {
        merged.push({ ...group[0]!, level: DEEPEST });
        continue;
      }
      const bytes = group.reduce((sum, table) => sum + table.bytes, 0);
      const { tableBytes } = LSM_DEFAULTS;
      const outputs = Array.from({ length: Math.ceil((bytes * 1.25) / tableBytes) + 1 }, () =>
        this.#newNumber(),
      );
      const written = await compactTables(
        this.#fs,
        {
          directory: this.#directory,
          inputs: group.map(({ number }) => [number]),
          deleting: group.filter((table) => table.rangeTombstones > 0).map(({ number }) => number),
          sharedBytes: 0,
          // All that a delete can hide is in the group.
          deeper: [],
          below: [],
          belowBytesMax: Number.POSITIVE_INFINITY,
          snapshots: [],
          now: 0,
          outputs,
          tableBytes,
          table: tableOptions(LSM_DEFAULTS, DEEPEST),
          stop: new Int32Array(new SharedArrayBuffer(4)),
        },
        async () => {},
      );
      for (const table of written) merged.push(metaOf(table, DEEPEST));
      // What was salvaged only to be merged is not needed any more.
      for (const { number } of group)
        if (this.#written.has(number)) this.#fs.remove(filePath(this.#directory, number, "table"));
    }
    this.#tables = merged;
  }

  /** The log's batches as tables of level 0, in their order. */
  async #writeLog(): Promise<void> {
    const { inventory, options } = this.#plan;
    const { memtableBytes } = LSM_DEFAULTS;
    const { flushedBefore } = this.#plan;
    let memtable = new Memtable(memtableBytes);
    const batches = salvageLog(this.#fs, this.#directory, inventory.logs, flushedBefore, options.afterDamage);
    for (const { operations, count } of batches) {
      memtable.insert(operations, 0, operations.length, count, this.#lastSequence + 1);
      this.#lastSequence += count;
      if (memtable.byteLength < memtableBytes) continue;
      this.#tables.push(metaOf(await this.#flush(memtable), 0));
      memtable = new Memtable(memtableBytes);
    }
    if (!memtable.isEmpty) this.#tables.push(metaOf(await this.#flush(memtable), 0));
  }

  #flush(memtable: Memtable): Promise<WrittenTable> {
    const argument = {
      directory: this.#directory,
      fileNumber: this.#newNumber(),
      memtable: memtable.share(),
      snapshots: [],
      now: 0,
      table: tableOptions(LSM_DEFAULTS, 0),
    };
    return flushMemtable(this.#fs, argument, () => Promise.resolve());
  }

  /** Files that are no part of the repaired store. */
  #leaving(): string[] {
    const { inventory, replacesLog } = this.#plan;
    const stays = new Set(this.#tables.map(({ number }) => number));
    return [
      ...inventory.tables.filter((number) => !stays.has(number)).map((number) => fileName(number, "table")),
      ...(replacesLog ? inventory.logs : []).map((number) => fileName(number, "wal")),
      ...inventory.manifests.map((number) => fileName(number, "manifest")),
    ];
  }

  /** Each repair has a directory of its own. */
  #lostDirectory(): string {
    const numbers = this.#fs.list(`${this.#directory}/${LOST}`).map(Number).filter(Number.isInteger);
    return `${this.#directory}/${LOST}/${Math.max(0, ...numbers) + 1}`;
  }

  #newNumber(): number {
    const number = this.#nextFileNumber++;
    this.#written.add(number);
    return number;
  }
}
