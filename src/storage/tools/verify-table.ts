/** Checks all of one table: every checksum, the order of its entries, its counts and bounds, and that each key is found. */
import type { FileSystem } from "../../env/env.ts";
import { compareBytes, equalBytes } from "../../lib/bytes.ts";
import { BlockCache } from "../block-cache.ts";
import { bloomHash } from "../bloom.ts";
import { containsKey } from "../key-range.ts";
import type { TableMeta } from "../manifest.ts";
import type { RangeTombstone } from "../range-tombstone.ts";
import type { TableProperties } from "../table-format.ts";
import { TableReader } from "../table-reader.ts";
import { type DataEntry, entriesOf, isBehind } from "./data-block.ts";
import { showBytes } from "./printable.ts";
import type { Problem } from "./problem.ts";
import { attempt, surveyTable, type TableDamage } from "./table-survey.ts";

/** Enough for the blocks that a walk in order needs at a time. */
const CACHE_BYTES = 1024 * 1024;
/** Of problems of one kind, as many are told. */
const TOLD_MAX = 5;

export interface TableCheck {
  readonly problems: readonly Problem[];
  readonly entries: number;
}

/** What is told of damaged parts. */
export function damageText({ part, what, after, upTo }: TableDamage): string {
  const keys =
    after === undefined && upTo === undefined
      ? ""
      : `; it has keys ${after === undefined ? "" : `above ${showBytes(after)} `}${upTo === undefined ? "" : `up to ${showBytes(upTo)}`}`;
  return `${NAMES[part]} is damaged: ${what}${keys.trimEnd()}`;
}

const NAMES: Readonly<Record<TableDamage["part"], string>> = {
  footer: "the footer",
  properties: "the properties block",
  rangeTombstones: "the range tombstone block",
  topIndex: "the top index",
  partition: "a partition of the index",
  data: "a data block",
  unknown: "a part of the file",
};

/**
 * Checks the table `number` at `path`, against what the manifest says of it, if anything. `progress` is told how many bytes
 * have been read since it was told last. Throws `FileError`, and `NEWER`.
 */
export function verifyTable(
  fs: FileSystem,
  path: string,
  number: number,
  meta: TableMeta | undefined,
  progress: (bytes: number) => void,
): TableCheck {
  const check = new Check(path);
  for (const part of surveyTable(fs, path, number)) {
    progress(part.at.length);
    switch (part.kind) {
      case "damage":
        check.add(part.at.offset, damageText(part));
        break;
      case "properties":
        check.properties = part.properties;
        check.propertiesOffset = part.at.offset;
        break;
      case "rangeTombstones":
        check.rangeTombstones = part.tombstones;
        break;
      case "partition":
        check.partitions++;
        break;
      case "data":
        check.dataBlocks++;
        check.rawBytes += part.block.bytes.length;
        for (const entry of entriesOf(part.block)) check.entry(part.at.offset, entry);
        break;
      default:
        break;
    }
  }
  // What is damaged has other counts for that reason.
  if (check.problems.length === 0) {
    check.compareProperties();
    if (meta !== undefined) check.compareMeta(meta);
  }
  if (check.problems.length === 0) findAll(fs, path, number, check);
  return { problems: check.problems, entries: check.entries };
}

class Check {
  readonly problems: Problem[] = [];
  readonly path: string;
  properties: TableProperties | undefined;
  propertiesOffset = 0;
  rangeTombstones: readonly RangeTombstone[] = [];
  entries = 0;
  dataBlocks = 0;
  partitions = 0;
  rawBytes = 0;
  #tombstones = 0;
  #expiring = 0;
  #latestExpiry = 0;
  #overwritten = 0;
  #smallestSequence = Number.MAX_SAFE_INTEGER;
  #largestSequence = 0;
  #first: Uint8Array | undefined;
  #last: DataEntry | undefined;
  #told = 0;

  constructor(path: string) {
    this.path = path;
  }

  add(offset: number, what: string): void {
    this.problems.push({ path: this.path, offset, what });
  }

  entry(offset: number, entry: DataEntry): void {
    this.entries++;
    if (entry.tombstone) this.#tombstones++;
    else if (entry.expiresAt !== 0) {
      this.#expiring++;
      this.#latestExpiry = Math.max(this.#latestExpiry, entry.expiresAt);
    }
    this.#sequence(entry.sequence);
    this.#first ??= entry.key;
    if (this.#last !== undefined && equalBytes(entry.key, this.#last.key)) this.#overwritten++;
    if (this.#last !== undefined && !isBehind(entry, this.#last) && this.#told++ < TOLD_MAX)
      this.add(
        offset,
        `the entry of ${showBytes(entry.key)} is not behind that of ${showBytes(this.#last.key)}`,
      );
    this.#last = entry;
  }

  compareProperties(): void {
    const { properties } = this;
    if (properties === undefined) return;
    for (const { sequence } of this.rangeTombstones) this.#sequence(sequence);
    const found: Partial<Record<keyof TableProperties, number>> = {
      entries: this.entries,
      tombstones: this.#tombstones,
      rangeTombstones: this.rangeTombstones.length,
      expiring: this.#expiring,
      latestExpiry: this.#latestExpiry,
      overwritten: this.#overwritten,
      dataBlocks: this.dataBlocks,
      partitions: this.partitions,
      rawBytes: this.rawBytes,
      smallestSequence: this.#smallestSequence,
      largestSequence: this.#largestSequence,
    };
    for (const [name, number] of Object.entries(found)) {
      const says = properties[name as keyof TableProperties];
      if (says !== number)
        this.add(this.propertiesOffset, `the properties say ${name} ${says}, found ${number}`);
    }
    this.#compareBounds(properties);
  }

  compareMeta(meta: TableMeta): void {
    const { properties } = this;
    if (properties === undefined) return;
    const numbers = [
      "entries",
      "tombstones",
      "rangeTombstones",
      "expiring",
      "latestExpiry",
      "overwritten",
      "largestSequence",
    ] as const;
    for (const name of numbers) {
      if (meta[name] !== properties[name])
        this.add(
          this.propertiesOffset,
          `the manifest says ${name} ${meta[name]}, the table ${properties[name]}`,
        );
    }
    for (const name of ["smallestKey", "largestKey"] as const) {
      if (!equalBytes(meta[name], properties[name]))
        this.add(
          this.propertiesOffset,
          `the manifest says ${name} ${showBytes(meta[name])}, the table ${showBytes(properties[name])}`,
        );
    }
    if (meta.largestKeyIncluded !== properties.largestKeyIncluded)
      this.add(
        this.propertiesOffset,
        "the manifest and the table disagree on whether the largest key is included",
      );
  }

  /** The bounds are exactly those of the entries and range tombstones. */
  #compareBounds(properties: TableProperties): void {
    let smallest = this.#first;
    let largest = this.#last?.key;
    let included = true;
    for (const { start, end } of this.rangeTombstones) {
      if (smallest === undefined || compareBytes(start, smallest) < 0) smallest = start;
      if (largest === undefined || compareBytes(end, largest) > 0) {
        largest = end;
        included = false;
      }
    }
    if (smallest === undefined || largest === undefined) {
      this.add(this.propertiesOffset, "the table is empty");
      return;
    }
    if (!equalBytes(smallest, properties.smallestKey))
      this.add(
        this.propertiesOffset,
        `the properties say smallestKey ${showBytes(properties.smallestKey)}, found ${showBytes(smallest)}`,
      );
    if (!equalBytes(largest, properties.largestKey) || included !== properties.largestKeyIncluded)
      this.add(
        this.propertiesOffset,
        `the properties say largestKey ${showBytes(properties.largestKey)}, found ${showBytes(largest)}`,
      );
  }

  #sequence(sequence: number): void {
    if (sequence < this.#smallestSequence) this.#smallestSequence = sequence;
    if (sequence > this.#largestSequence) this.#largestSequence = sequence;
  }
}

/** Looks up every key in the way in which the engine does. */
function findAll(fs: FileSystem, path: string, number: number, check: Check): void {
  const reader = TableReader.open(fs, path, number, new BlockCache(CACHE_BYTES));
  try {
    let lost = 0;
    for (const part of surveyTable(fs, path, number)) {
      if (part.kind !== "data") continue;
      for (const { key, sequence } of entriesOf(part.block)) {
        const found = attempt(() => reader.get(key, sequence, bloomHash(key)));
        if (found.ok && found.value?.sequence === sequence && containsKey(reader.properties, key)) continue;
        const how = found.ok ? "is in the table, but filter and index do not lead to it" : found.what;
        if (lost++ < TOLD_MAX) check.add(part.at.offset, `${showBytes(key)} ${how}`);
      }
    }
    if (lost > TOLD_MAX) check.add(0, `${lost} keys in all can't be found`);
  } finally {
    reader.close();
  }
}
