/** Bugs of the engine, and of how a node ties it to the log. */
import { type Mutant, mutant } from "./mutant.ts";

export const ENGINE_MUTANTS: readonly Mutant[] = [
  mutant(
    "seals-in-the-middle-of-a-turn",
    "src/shard/shard-host.ts",
    "    buffer.commit();\n    const nowMs",
    "    engine.sealIfFull();\n    buffer.commit();\n    const nowMs",
  ),
  mutant(
    "manifest-is-not-synced",
    "src/storage/manifest.ts",
    "  log.write(record.bytes, record.length);\n  await log.sync();\n",
    "  log.write(record.bytes, record.length);\n",
  ),
  mutant(
    "tables-name-is-not-synced",
    "src/storage/manifest.ts",
    "    if (edit.added.some(isNew)) await syncOrFail(this.#fs.syncDirectory(this.#directory), this.#directory);\n",
    "    isNew;\n",
  ),
  mutant(
    "table-is-not-synced",
    "src/storage/table-writer.ts",
    "    this.#handle.syncNow();\n    this.#handle.close();\n",
    "    this.#handle.close();\n",
  ),
  {
    name: "memtable-goes-before-its-table-is-there",
    file: "src/storage/flusher.ts",
    edits: [
      { find: "const oldest = this.#sealed[0]!;", replace: "const oldest = this.#sealed.shift()!;" },
      {
        find: "    this.#sealed.shift();\n    this.#host.flushed(oldest);",
        replace: "    this.#host.flushed(oldest);",
      },
    ],
  },
  mutant(
    "tombstone-goes-too-early",
    "src/storage/visibility.ts",
    "if (entry.tombstone && stripe === 0 && this.#deeper !== undefined && !this.#isDeeper()) return false;",
    "if (entry.tombstone && stripe === 0 && this.#deeper !== undefined) return false;",
  ),
  mutant(
    "merge-keeps-the-older-version",
    "src/storage/compaction-input.ts",
    "return order !== 0 ? order : other.sequence - entry.sequence;",
    "return order !== 0 ? order : entry.sequence - other.sequence;",
  ),
  mutant(
    "range-delete-is-forgotten",
    "src/storage/visibility.ts",
    "return stripe > 0 || this.#deeper === undefined || this.#isDeeperRange(start, end);",
    "return stripe > 0;",
  ),
  mutant(
    "reads-the-oldest-of-level-0-first",
    "src/storage/levels.ts",
    "for (const table of levels[0]!) {",
    "for (const table of levels[0]!.toReversed()) {",
  ),
];
