/**
 * A disk for tests that forgets: what was not synced may be gone after a crash, block by block and name by name, as a
 * seeded coin falls. It can also be full, and fail on demand.
 *
 * Two things it does otherwise than a journaling file system. The rename of a file is two changes of names, of which one
 * may be lost without the other, which is harsher; that of a directory happens or does not. And a file may be created in
 * a directory that is not there, which then counts as one that always was: a test need not begin with `makeDirectory`.
 */
import { FileError, type FileHandle, type FileLock, type FileSystem } from "../../src/env/env.ts";
import type { Random } from "../../src/lib/prng.ts";

/** What the disk forgets as a whole or not at all, in bytes. */
const BLOCK_BYTES = 512;

/** What changes something, or makes it durable. */
export type FileOperation =
  | "create"
  | "write"
  | "truncate"
  | "sync"
  | "makeDirectory"
  | "removeDirectory"
  | "rename"
  | "link"
  | "remove"
  | "syncDirectory";

/** What only looks. `open` is that of a file which is there. */
export type FileAccess = "open" | "read" | "list";

/** A file's content: as the process sees it, and as the disk has it. */
interface Inode {
  readonly kind: "file";
  bytes: Uint8Array;
  size: number;
  durable: Uint8Array;
  durableSize: number;
  /** Blocks that the process changed since they were made durable. */
  dirty: Set<number>;
}

/** A directory's names: as the process sees them, and as the disk has them. */
interface Directory {
  readonly kind: "directory";
  names: Map<string, Entry>;
  durableNames: Map<string, Entry>;
  /** What a failed sync left behind: names that the system takes for durable as they are here, and the disk has not. */
  lostNames: Map<string, Entry | undefined>;
}

type Entry = Inode | Directory;

export class MemoryFileSystem implements FileSystem {
  /** Called before every operation that changes something. What it throws is what the operation fails with. */
  onOperation: ((operation: FileOperation, path: string) => void) | undefined;
  /** Called before every operation that only looks, in the same way. */
  onAccess: ((access: FileAccess, path: string) => void) | undefined;
  /** How many bytes all files may have together; a write beyond is cut short and fails with ENOSPC. */
  capacityBytes = Number.POSITIVE_INFINITY;
  /** If given, a write that `onOperation` lets fail has written its first bytes before, but never all: as many as the coin says. */
  partialWrites: Random | undefined;
  /** How often something was made durable. */
  syncs = 0;
  #root: Directory = newDirectory();
  readonly #locks = new Set<string>();
  #crashed = false;

  /**
   * The power fails. This file system works no more (what still runs on it gets errors); the result is what the next
   * boot finds.
   */
  crash(random: Random): MemoryFileSystem {
    this.#crashed = true;
    const next = new MemoryFileSystem();
    next.#root = new Survivors(random).directory(this.#root);
    return next;
  }

  /** The bytes that all files have together. */
  get usedBytes(): number {
    let bytes = 0;
    const inodes = new Set<Inode>();
    for (const [, entry] of walk(this.#root, "")) if (entry.kind === "file") inodes.add(entry);
    for (const inode of inodes) bytes += inode.size;
    return bytes;
  }

  /** Changes bits of a byte, on the disk and for everybody who reads it from now on. */
  flip(path: string, position: number, mask: number): void {
    const inode = this.#inode(path);
    inode.bytes[position]! ^= mask;
    if (position < inode.durableSize) inode.durable[position]! ^= mask;
  }

  /** The paths of all files, in the order of their creation within a directory. */
  paths(): string[] {
    return [...walk(this.#root, "")].filter(([, entry]) => entry.kind === "file").map(([path]) => path);
  }

  /**
   * What is durable of the files in `directory` under the names that are durable: what a power loss leaves in any case. The
   * bytes are borrowed; another sync of a file gives it another array.
   */
  durableFiles(directory: string): Map<string, { readonly bytes: Uint8Array; readonly size: number }> {
    const found = new Map<string, { readonly bytes: Uint8Array; readonly size: number }>();
    let entry: Entry | undefined = this.#root;
    for (const name of partsOf(directory))
      entry = entry?.kind === "directory" ? entry.durableNames.get(name) : undefined;
    if (entry?.kind !== "directory") return found;
    for (const [name, file] of entry.durableNames)
      if (file.kind === "file") found.set(name, { bytes: file.durable, size: file.durableSize });
    return found;
  }

  /** All of a file, owned by the caller. */
  readFile(path: string): Uint8Array {
    const inode = this.#inode(path);
    return inode.bytes.slice(0, inode.size);
  }

  /** Replaces or creates a file, durably: for tests that prepare or damage a disk. */
  writeFile(path: string, bytes: Uint8Array): void {
    const { directory, name } = this.#place(path);
    const inode = newInode(bytes);
    directory.names.set(name, inode);
    directory.durableNames.set(name, inode);
  }

  /** An independent disk with the same content, all of it durable, and nothing locked. */
  copy(): MemoryFileSystem {
    const copy = new MemoryFileSystem();
    const copies = new Map<Inode, Inode>();
    for (const [path, entry] of walk(this.#root, "")) {
      const { directory, name } = copy.#place(path);
      let twin: Entry;
      if (entry.kind === "directory") twin = newDirectory();
      else twin = copies.get(entry) ?? newInode(entry.bytes.subarray(0, entry.size));
      if (entry.kind === "file" && twin.kind === "file") copies.set(entry, twin);
      directory.names.set(name, twin);
      directory.durableNames.set(name, twin);
    }
    return copy;
  }

  open(path: string, mode: "create" | "write" | "read"): FileHandle {
    this.#assertAlive(path);
    if (mode === "create") {
      const { directory, name } = this.#place(path);
      if (directory.names.has(name)) throw new FileError("EEXIST", `cannot create ${path}: it exists`);
      this.#changing("create", path);
      directory.names.set(name, newInode(new Uint8Array(0)));
    } else {
      this.onAccess?.("open", path);
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
        this.onAccess?.("read", path);
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
    return this.#entry(path) !== undefined;
  }

  list(directory: string): string[] {
    this.#assertAlive(directory);
    this.onAccess?.("list", directory);
    const entry = this.#entry(directory);
    return entry?.kind === "directory" ? [...entry.names.keys()].sort() : [];
  }

  makeDirectory(directory: string): void {
    this.#assertAlive(directory);
    if (this.#entry(directory) !== undefined) return;
    this.#changing("makeDirectory", directory);
    let parent = this.#root;
    for (const name of partsOf(directory)) {
      const child = parent.names.get(name) ?? newDirectory();
      if (child.kind !== "directory")
        throw new FileError("ENOTDIR", `cannot create ${directory}: ${name} is a file`);
      parent.names.set(name, child);
      parent = child;
    }
  }

  removeDirectory(directory: string): void {
    const entry = this.#entry(directory);
    if (entry?.kind !== "directory")
      throw new FileError("ENOENT", `cannot remove ${directory}: no such directory`);
    if (entry.names.size > 0) throw new FileError("ENOTEMPTY", `cannot remove ${directory}: it is not empty`);
    this.#changing("removeDirectory", directory);
    const { directory: parent, name } = this.#place(directory);
    parent.names.delete(name);
  }

  rename(from: string, to: string): void {
    this.#changing("rename", from);
    const moved = this.#entry(from);
    if (moved === undefined) throw new FileError("ENOENT", `cannot rename ${from}: no such file`);
    const replaced = this.#entry(to);
    if (replaced === moved) return;
    if (replaced !== undefined && (moved.kind === "directory" || replaced.kind === "directory")) {
      throw new FileError("ENOTEMPTY", `cannot rename ${from}: ${to} exists`);
    }
    const source = this.#place(from);
    const target = this.#place(to);
    source.directory.names.delete(source.name);
    target.directory.names.set(target.name, moved);
  }

  link(from: string, to: string): void {
    const inode = this.#inode(from);
    const { directory, name } = this.#place(to);
    if (directory.names.has(name)) throw new FileError("EEXIST", `cannot link ${from} as ${to}: it exists`);
    this.#changing("link", to);
    directory.names.set(name, inode);
  }

  remove(path: string): void {
    this.#changing("remove", path);
    const entry = this.#entry(path);
    if (entry === undefined) return;
    if (entry.kind === "directory") throw new FileError("EISDIR", `cannot remove ${path}: it is a directory`);
    const { directory, name } = this.#place(path);
    directory.names.delete(name);
  }

  async syncDirectory(directory: string): Promise<void> {
    this.syncDirectorySync(directory);
  }

  syncDirectorySync(directory: string): void {
    const entry = this.#entry(directory);
    try {
      this.#changing("syncDirectory", directory);
    } catch (error) {
      if (entry?.kind === "directory" && !this.#crashed) loseNames(entry);
      throw error;
    }
    // One that is not there holds nothing: a file can be created in it, see above.
    if (entry?.kind === "directory") syncNames(entry);
    this.syncs++;
  }

  lock(path: string): FileLock | undefined {
    this.#assertAlive(path);
    if (this.#locks.has(path)) return undefined;
    this.#locks.add(path);
    return { release: () => this.#locks.delete(path) };
  }

  lockHolder(): undefined {
    return undefined;
  }

  #entry(path: string): Entry | undefined {
    let entry: Entry | undefined = this.#root;
    for (const name of partsOf(path)) entry = entry?.kind === "directory" ? entry.names.get(name) : undefined;
    return entry;
  }

  /** Where a path's last name belongs. Directories on the way that are not there are made, durably. */
  #place(path: string): { directory: Directory; name: string } {
    const parts = partsOf(path);
    const name = parts.pop() ?? "";
    let directory = this.#root;
    for (const part of parts) {
      let child = directory.names.get(part);
      if (child === undefined) {
        child = newDirectory();
        directory.names.set(part, child);
        directory.durableNames.set(part, child);
      }
      if (child.kind !== "directory") throw new FileError("ENOTDIR", `cannot use ${path}: ${part} is a file`);
      directory = child;
    }
    return { directory, name };
  }

  #inode(path: string): Inode {
    const entry = this.#entry(path);
    if (entry?.kind !== "file") throw new FileError("ENOENT", `cannot open ${path}: no such file`);
    return entry;
  }

  #write(path: string, inode: Inode, bytes: Uint8Array, position: number): void {
    try {
      this.#changing("write", path);
    } catch (error) {
      if (this.partialWrites !== undefined && !this.#crashed)
        put(inode, bytes.subarray(0, this.partialWrites.below(Math.max(1, bytes.length))), position);
      throw error;
    }
    let length = bytes.length;
    if (this.capacityBytes !== Number.POSITIVE_INFINITY) {
      // What is overwritten has its place, however full the disk is.
      const room = Math.max(0, this.capacityBytes - this.usedBytes) + Math.max(0, inode.size - position);
      length = Math.max(0, Math.min(length, room));
    }
    put(inode, bytes.subarray(0, length), position);
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
    this.syncs++;
  }

  #changing(operation: FileOperation, path: string): void {
    this.#assertAlive(path);
    this.onOperation?.(operation, path);
  }

  #assertAlive(path: string): void {
    if (this.#crashed) throw new FileError("EIO", `${path}: this machine has crashed`);
  }
}

/** What a crash leaves of directories and files. */
class Survivors {
  readonly #random: Random;
  readonly #inodes = new Map<Inode, Inode>();
  /** Whether a directory that was made, moved or removed is where it is now, and not where the disk had it. */
  readonly #isMoved = new Map<Directory, boolean>();

  constructor(random: Random) {
    this.#random = random;
  }

  directory({ names, durableNames }: Directory): Directory {
    const next = newDirectory();
    for (const name of [...new Set([...names.keys(), ...durableNames.keys()])].sort()) {
      const entry = this.#choice(names.get(name), durableNames.get(name));
      if (entry === undefined) continue;
      const survivor = entry.kind === "file" ? this.#inode(entry) : this.directory(entry);
      next.names.set(name, survivor);
      next.durableNames.set(name, survivor);
    }
    return next;
  }

  #choice(now: Entry | undefined, durable: Entry | undefined): Entry | undefined {
    if (now === durable) return durable;
    if (now?.kind === "directory" && this.#moved(now)) return now;
    if (durable?.kind === "directory" && !this.#moved(durable)) return durable;
    if (now?.kind !== "directory" && durable?.kind !== "directory")
      return this.#random.below(2) === 0 ? durable : now;
    return now?.kind === "file" ? now : durable?.kind === "file" ? durable : undefined;
  }

  #moved(directory: Directory): boolean {
    const moved = this.#isMoved.get(directory) ?? this.#random.below(2) === 1;
    this.#isMoved.set(directory, moved);
    return moved;
  }

  #inode(inode: Inode): Inode {
    const survivor = this.#inodes.get(inode) ?? survivorOf(inode, this.#random);
    this.#inodes.set(inode, survivor);
    return survivor;
  }
}

/** All entries below a directory with their paths, a directory before what is in it. */
function* walk({ names }: Directory, path: string): Generator<[path: string, entry: Entry]> {
  for (const [name, entry] of names) {
    yield [`${path}/${name}`, entry];
    if (entry.kind === "directory") yield* walk(entry, `${path}/${name}`);
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

function newDirectory(): Directory {
  return { kind: "directory", names: new Map(), durableNames: new Map(), lostNames: new Map() };
}

/** A sync of a directory has failed: as with a file, a second one would succeed, and not write what the first was to. */
function loseNames({ names, durableNames, lostNames }: Directory): void {
  for (const name of new Set([...names.keys(), ...durableNames.keys()])) {
    if (names.get(name) !== durableNames.get(name)) lostNames.set(name, names.get(name));
  }
}

function syncNames({ names, durableNames, lostNames }: Directory): void {
  for (const name of new Set([...names.keys(), ...durableNames.keys()])) {
    const entry = names.get(name);
    if (lostNames.has(name) && lostNames.get(name) === entry) continue;
    lostNames.delete(name);
    if (entry === undefined) durableNames.delete(name);
    else durableNames.set(name, entry);
  }
}

/** A file whose content is durable. */
function newInode(bytes: Uint8Array): Inode {
  return {
    kind: "file",
    bytes: bytes.slice(),
    size: bytes.length,
    durable: bytes.slice(),
    durableSize: bytes.length,
    dirty: new Set(),
  };
}

function put(inode: Inode, bytes: Uint8Array, position: number): void {
  if (bytes.length === 0) return;
  const end = position + bytes.length;
  if (end > inode.size) resize(inode, end);
  inode.bytes.set(bytes, position);
  markDirty(inode, position, end);
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
  return { kind: "file", bytes, size, durable: bytes.slice(), durableSize: size, dirty: new Set() };
}
