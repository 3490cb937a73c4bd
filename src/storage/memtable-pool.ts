/**
 * The memory of memtables, used again and again. A new memtable every second would leave tens of megabytes behind each
 * time, for the garbage collectors of two threads to find when they get to it, and for the system to take back, clear and
 * hand out again page by page.
 *
 * A memtable that has become a table may still be read by iterators that were opened before. While any is open, which
 * ones is not asked: such a memtable's memory waits for a moment without iterators, and if more of it waits, the
 * collectors get it after all.
 */
import { Memtable, type MemtableMemory } from "./memtable.ts";

export class MemtablePool {
  readonly #capacityBytes: number;
  #iterators = 0;
  /** Memory that nobody uses, and memory that an iterator may still read. */
  #free: MemtableMemory | undefined;
  #retired: MemtableMemory | undefined;

  /** `capacityBytes`: what a memtable holds before it has to grow. */
  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  newMemtable(): Memtable {
    const memory = this.#free;
    this.#free = undefined;
    return new Memtable(this.#capacityBytes, memory);
  }

  /** Takes the memory of a memtable that is read by nobody but iterators. What was read of it is not valid any more. */
  retire({ memory }: Memtable): void {
    // What had to grow for something large is not kept.
    if (memory.data.arena.length > this.#capacityBytes) return;
    if (this.#iterators === 0) this.#free = memory;
    else this.#retired = memory;
  }

  /** An iterator has been opened. */
  iteratorOpened(): void {
    this.#iterators++;
  }

  /** One has been closed. */
  iteratorClosed(): void {
    if (--this.#iterators > 0 || this.#retired === undefined) return;
    this.#free ??= this.#retired;
    this.#retired = undefined;
  }
}
