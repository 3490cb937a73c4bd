/**
 * A disk for tests that forgets: what was not synced may be gone after a crash, block by block and name by name, as a
 * seeded coin falls. It can also be full, and fail on demand.
 *
 * What it does not do: directories themselves are never forgotten, and a rename is two changes of names of which one may
 * be lost without the other, which is harsher than a journaling file system.
 */
import { FileError, type FileHandle, type FileLock, type FileSystem } from "../../src/env/env.ts";
import type { Random } from "../../src/lib/prng.ts";

/** What the disk forgets as a whole or not at all, in bytes. */
const BLOCK_BYTES = 512;

export type FileOperation = "create" | "write" | "truncate" | "sync" | "rename" | "remove" | "syncDirectory";

/** A file's content: as the process sees it, and as the disk has it. */
interface Inode {
  bytes: Uint8Array;
  size: number;
  durable: Uint8Array;
  durableSize: number;
  /** Blocks that the process changed since they were made durable. */
  dirty: Set<number>;
}

export class MemoryFileSystem implements FileSystem {
  /** Called before every operation that changes something. What it throws is what the operation fails with. */
  onOperation: ((operation: FileOperation, path: string) => void) | undefined;
  /** How many bytes all files may have together; a write beyond is cut short and fails with ENOSPC. */
  capacityBytes = Number.POSITIVE_INFINITY;
  readonly #directories = new Set<string>();
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  readonly #locks = new Set<string>();
  #crashed = false;

  /**
   * The power fails. This file system works no more (what still runs on it gets errors); the result is what the next
   * boot finds.
   */
  crash(random: Random): MemoryFileSystem {
    this.#crashed = true;
    const next = new MemoryFileSystem();
    for (const directory of this.#directories) next.#directories.add(directory);
    const survivors = new Map<Inode, Inode>();
    const names = new Set([...this.#names.keys(), ...this.#durableNames.keys()]);
    for (const name of [...names].sort()) {
      const now = this.#names.get(name);
      const durable = this.#durableNames.get(name);
      const inode = now === durable || random.below(2) === 0 ? durable : now;
      if (inode === undefined) continue;
      const survivor = survivors.get(inode) ?? survivorOf(inode, random);
      survivors.set(inode, survivor);
      next.#names.set(name, survivor);
      next.#durableNames.set(name, survivor);
    }
    return next;
  }

  /** The bytes that all files have together. */
  get usedBytes(): number {
    let bytes = 0;
    for (const inode of new Set(this.#names.values())) bytes += inode.size;
    return bytes;
  }

  /** All of a file, owned by the caller. */
  readFile(path: string): Uint8Array {
    const inode = this.#inode(path);
    return inode.bytes.slice(0, inode.size);
  }

  /** Replaces or creates a file, durably: for tests that prepare or damage a disk. */
  writeFile(path: string, bytes: Uint8Array): void {
    const inode: Inode = {
      bytes: bytes.slice(),
      size: bytes.length,
      durable: bytes.slice(),
      durableSize: bytes.length,
      dirty: new Set(),
    };
    this.#names.set(path, inode);
    this.#durableNames.set(path, inode);
  }

  /** An independent disk with the same content, all of it durable, and nothing locked. */
  copy(): MemoryFileSystem {
    const copy = new MemoryFileSystem();
    for (const directory of this.#directories) copy.#directories.add(directory);
    for (const path of this.#names.keys()) copy.writeFile(path, this.readFile(path));
    return copy;
  }

  open(path: string, mode: "create" | "write" | "read"): FileHandle {
    this.#assertAlive(path);
    if (mode === "create") {
      if (this.#names.has(path)) throw new FileError("EEXIST", `cannot create ${path}: it exists`);
      this.#changing("create", path);
      this.#names.set(path, {
        bytes: new Uint8Array(0),
        size: 0,
        durable: new Uint8Array(0),
        durableSize: 0,
        dirty: new Set(),
      });
    }
    const inode = this.#inode(path);
    return {
      path,
      size: () => {
        this.#assertAlive(path);
        return inode.size;
      },
      read: (target, targetOffset, length, position) => {
        this.#assertAlive(path);
        const end = Math.max(position, Math.min(inode.size, position + length));
        target.set(inode.bytes.subarray(position, end), targetOffset);
        return end - position;
      },
      write: (bytes, start, end, position) => this.#write(path, inode, bytes.subarray(start, end), position),
      sync: async () => this.#sync(path, inode),
      syncNow: () => this.#sync(path, inode),
      truncate: (length) => {
        this.#changing("truncate", path);
        resize(inode, length);
      },
      close: () => {},
    };
  }

  exists(path: string): boolean {
    this.#assertAlive(path);
    return this.#names.has(path) || this.#directories.has(path);
  }

  list(directory: string): string[] {
    this.#assertAlive(directory);
    const names = new Set<string>();
    for (const path of [...this.#names.keys(), ...this.#directories]) {
      if (path.startsWith(`${directory}/`)) names.add(path.slice(directory.length + 1).split("/")[0]!);
    }
    return [...names].sort();
  }

  makeDirectory(directory: string): void {
    this.#assertAlive(directory);
    this.#directories.add(directory);
  }

  rename(from: string, to: string): void {
    this.#changing("rename", from);
    const inode = this.#inode(from);
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  remove(path: string): void {
    this.#changing("remove", path);
    this.#names.delete(path);
  }

  async syncDirectory(directory: string): Promise<void> {
    this.syncDirectorySync(directory);
  }

  syncDirectorySync(directory: string): void {
    this.#changing("syncDirectory", directory);
    const inside = (path: string): boolean => path.slice(0, path.lastIndexOf("/")) === directory;
    for (const path of this.#durableNames.keys()) {
      if (inside(path) && !this.#names.has(path)) this.#durableNames.delete(path);
    }
    for (const [path, inode] of this.#names) if (inside(path)) this.#durableNames.set(path, inode);
  }

  lock(path: string): FileLock | undefined {
    this.#assertAlive(path);
    if (this.#locks.has(path)) return undefined;
    this.#locks.add(path);
    return { release: () => this.#locks.delete(path) };
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw new FileError("ENOENT", `cannot open ${path}: no such file`);
    return inode;
  }

  #write(path: string, inode: Inode, bytes: Uint8Array, position: number): void {
    this.#changing("write", path);
    const room = this.capacityBytes - this.usedBytes + Math.max(0, inode.size - position);
    const length = Math.max(0, Math.min(bytes.length, room));
    if (length > 0) {
      if (position + length > inode.size) resize(inode, position + length);
      inode.bytes.set(bytes.subarray(0, length), position);
      markDirty(inode, position, position + length);
    }
    if (length < bytes.length)
      throw new FileError("ENOSPC", `cannot write to ${path}: no space left on device`);
  }

  #sync(path: string, inode: Inode): void {
    const { dirty } = inode;
    inode.dirty = new Set();
    // A sync that fails leaves the pages clean: a second one would succeed, and not write them.
    this.#changing("sync", path);
    const durable = new Uint8Array(inode.size);
    durable.set(inode.durable.subarray(0, Math.min(inode.durableSize, inode.size)));
    for (const block of dirty) copyBlock(durable, inode.bytes, block, inode.size);
    inode.durable = durable;
    inode.durableSize = inode.size;
  }

  #changing(operation: FileOperation, path: string): void {
    this.#assertAlive(path);
    this.onOperation?.(operation, path);
  }

  #assertAlive(path: string): void {
    if (this.#crashed) throw new FileError("EIO", `${path}: this machine has crashed`);
  }
}

function resize(inode: Inode, size: number): void {
  if (size > inode.bytes.length) {
    const larger = new Uint8Array(Math.max(size, inode.bytes.length * 2));
    larger.set(inode.bytes.subarray(0, inode.size));
    inode.bytes = larger;
  }
  inode.bytes.fill(0, Math.min(size, inode.size));
  markDirty(inode, Math.min(size, inode.size), Math.max(size, inode.size));
  inode.size = size;
}

function markDirty(inode: Inode, start: number, end: number): void {
  for (let block = Math.floor(start / BLOCK_BYTES); block * BLOCK_BYTES < end; block++)
    inode.dirty.add(block);
}

function copyBlock(target: Uint8Array, source: Uint8Array, block: number, size: number): void {
  const start = Math.min(block * BLOCK_BYTES, size);
  target.set(source.subarray(start, Math.min(start + BLOCK_BYTES, size)), start);
}

function survivorOf(inode: Inode, random: Random): Inode {
  const size = inode.size === inode.durableSize || random.below(2) === 0 ? inode.durableSize : inode.size;
  const bytes = new Uint8Array(size);
  bytes.set(inode.durable.subarray(0, Math.min(inode.durableSize, size)));
  for (const block of [...inode.dirty].sort((a, b) => a - b)) {
    if (random.below(2) === 1) copyBlock(bytes, inode.bytes, block, Math.min(size, inode.size));
  }
  return { bytes, size, durable: bytes.slice(), durableSize: size, dirty: new Set() };
}
