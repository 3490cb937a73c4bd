/** Bugs of the Raft log on the disk, and of what is done with it. */
import { type Mutant, mutant } from "./mutant.ts";

const LOG_STORE = "src/shard/log-store.ts";

export const LOG_STORE_MUTANTS: readonly Mutant[] = [
  mutant(
    "log-is-not-synced",
    LOG_STORE,
    "      await segment.file.sync();\n",
    "      await Promise.resolve();\n",
  ),
  mutant(
    "failed-sync-is-ignored",
    LOG_STORE,
    "      throw syncFailed(segment.path, error);\n",
    "      if (error === undefined) throw error;\n",
  ),
  mutant(
    "segments-name-is-not-synced",
    LOG_STORE,
    "      if (spare !== undefined) fs.rename(spare, path);\n      this.#syncDirectory();\n",
    "      if (spare !== undefined) fs.rename(spare, path);\n",
  ),
  mutant(
    "new-segment-without-votes",
    LOG_STORE,
    "      writeHardState(record, group, log.hardState);\n      if (log.floor",
    "      if (log.floor",
  ),
  mutant(
    "segments-go-before-their-marks-are-durable",
    LOG_STORE,
    "while (this.#segments[0]!.number < this.#droppableBelow) {",
    "while (this.#segments[0]!.number < this.#oldestNeeded()) {",
  ),
  mutant(
    "overwritten-end-stays",
    "src/shard/group-log.ts",
    "    this.#slots.length = place;\n    this.#slots.push(slot);\n",
    "    this.#slots[place] = slot;\n",
  ),
  mutant(
    "log-is-compacted-before-the-tables-are-durable",
    "src/shard/shard.ts",
    "logIndex(Math.min(flushedIndex, needed, this.#state.index))",
    "logIndex(Math.min(needed, this.#state.index))",
  ),
  mutant(
    "snapshot-counts-before-it-is-durable",
    "src/shard/installation.ts",
    "const installing = { output, isDurable: false };\n",
    "const installing = { output, isDurable: true };\n    done();\n",
  ),
  mutant(
    "wiped-node-is-its-old-self",
    "src/cluster/membership.ts",
    "if (known !== undefined && known !== hello.incarnation) {",
    "if (known === null) {",
  ),
];
