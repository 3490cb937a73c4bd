import type { FileSystem } from "../env/env.ts";
import type { BlockCache } from "./block-cache.ts";
import { filePath } from "./file-names.ts";
import type { Table } from "./table.ts";
import { TableReader } from "./table-reader.ts";

/**
 * Which tables of a store are open: each takes a file descriptor and the memory of its top index, so there is a bound.
 * CLOCK (Corbató 1968) chooses who is closed. What a cursor is in is not closed, so cursors may exceed the bound.
 */
export class TableCache {
  readonly #fs: FileSystem;
  readonly #remove: (path: string) => void;
  readonly #directory: string;
  readonly #blocks: BlockCache;
  readonly #openTables: number;
  readonly #open: Table[] = [];
  #hand = 0;

  /** `openTables`: how many tables may be open. */
  constructor(
    fs: FileSystem,
    directory: string,
    blocks: BlockCache,
    openTables: number,
    remove: (path: string) => void = (path) => fs.remove(path),
  ) {
    this.#fs = fs;
    this.#remove = remove;
    this.#directory = directory;
    this.#blocks = blocks;
    this.#openTables = openTables;
  }

  /** How many tables are open. */
  get size(): number {
    return this.#open.length;
  }

  /** Opens the file of table `number`; throws `CORRUPT` or `FileError`. */
  open(number: number): TableReader {
    return TableReader.open(this.#fs, filePath(this.#directory, number, "table"), number, this.#blocks);
  }

  removeFile(number: number): void {
    this.#remove(filePath(this.#directory, number, "table"));
  }

  /** Closes tables until one more may be open, as far as they are not pinned. */
  makeRoom(): void {
    const open = this.#open;
    // Twice around: the first time clears the flags of those that were used.
    for (let steps = open.length * 2; steps > 0 && open.length >= this.#openTables; steps--) {
      if (this.#hand >= open.length) this.#hand = 0;
      const table = open[this.#hand]!;
      if (table.pinned || table.used) {
        table.used = false;
        this.#hand++;
      } else {
        this.forget(table);
        table.closeReader();
      }
    }
  }

  /** The table is open now. */
  remember(table: Table): void {
    table.position = this.#open.length;
    this.#open.push(table);
  }

  /** The table is open no more. */
  forget(table: Table): void {
    const last = this.#open.pop()!;
    if (last !== table) {
      last.position = table.position;
      this.#open[table.position] = last;
    }
    table.position = -1;
  }
}
