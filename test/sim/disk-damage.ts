/**
 * What a disk does to bytes that it has said are safe: a bit of them changes, or a block that was meant for another place is
 * written over them. Any file may be hit: tables, the manifest, the Raft log, the identity.
 *
 * One place is left out. Bytes of the Raft log that nothing on the disk vouches for yet look like a write that the power cut
 * short, and what was acknowledged through them may be lost with them (`docs/formats/raft-log.md`).
 */
import type { Random } from "../../src/lib/prng.ts";
import { NotedEnd } from "../../src/shard/log-end.ts";
import { previousEnd, readSegment } from "../../src/shard/log-segment.ts";
import { MemoryFileSystem } from "../support/memory-fs.ts";

const BLOCK_BYTES = 512;
const LOG = "/data/raft-log";
const IDENTITY = "/data/identity.json";
const IDENTITY_FILE = /\/identity\.json$/;
const NOWHERE = { byLog: 0, anyhow: 0 };
const SEGMENT = /^\/data\/raft-log\/(\d{12})\.log$/;

/** Bytes of a file that are not what was written. */
export interface Damage {
  readonly path: string;
  readonly start: number;
  /** What is there now. */
  readonly bytes: Uint8Array;
}

/**
 * Damages a file, by `how`; `undefined` if what chance chose has nothing to damage. With `isStopped` mostly what is read once, by
 * a start, and soon written anew or behind: the end of the Raft log, and a bit of the identity.
 */
export function damageDisk(
  disk: MemoryFileSystem,
  how: "bitflip" | "misdirect",
  random: Random,
  isStopped = false,
): Damage | undefined {
  const choice = isStopped ? random.below(4) : 0;
  if (choice === 1) return damageIdentity(disk, random);
  if (choice > 1) return damageLogEnd(disk, random);
  const path = choosePath(disk, how, random);
  if (path === undefined) return undefined;
  const end = SEGMENT.test(path) ? vouchedEnds(disk, path).anyhow : disk.readFile(path).length;
  if (end === 0) return undefined;
  const before = disk.readFile(path);
  if (how === "bitflip") return flipBit(disk, path, 0, end, random);
  const start = random.below(Math.ceil(end / BLOCK_BYTES)) * BLOCK_BYTES;
  const length = Math.min(BLOCK_BYTES, before.length - start);
  if (SEGMENT.test(path) && start + length > end) return undefined;
  const block = blockOf(disk, random).subarray(0, length);
  const bytes = before.slice(start, start + length);
  bytes.set(block);
  return change(disk, path, start, bytes);
}

function damageIdentity(disk: MemoryFileSystem, random: Random): Damage | undefined {
  return disk.exists(IDENTITY)
    ? flipBit(disk, IDENTITY, 0, disk.readFile(IDENTITY).length, random)
    : undefined;
}

/** Changes a bit of what only the end of the log that is noted beside it vouches for. */
function damageLogEnd(disk: MemoryFileSystem, random: Random): Damage | undefined {
  const newest = disk
    .paths()
    .filter((path) => SEGMENT.test(path))
    .sort()
    .at(-1);
  if (newest === undefined) return undefined;
  const { byLog, anyhow } = vouchedEnds(disk, newest);
  return byLog < anyhow ? flipBit(disk, newest, byLog, anyhow, random) : undefined;
}

function flipBit(
  disk: MemoryFileSystem,
  path: string,
  from: number,
  end: number,
  random: Random,
): Damage | undefined {
  const start = from + random.below(end - from);
  return change(disk, path, start, Uint8Array.of(disk.readFile(path)[start]! ^ (1 << random.below(8))));
}

/** Whether a node that starts on `disk` can't do so without reading what is damaged. */
export function mustRefuse(disk: MemoryFileSystem, { path, start, bytes }: Damage): boolean {
  if (!disk.exists(path)) return false;
  const found = disk.readFile(path).subarray(start, start + bytes.length);
  if (Buffer.compare(found, bytes) !== 0) return false;
  if (path === IDENTITY) return true;
  const number = Number(SEGMENT.exec(path)?.[1] ?? 0);
  if (number === 0) return false;
  // Segments before a gap are not needed any more.
  const numbers = segmentNumbers(disk);
  for (let next = number; next < Math.max(...numbers); next++) if (!numbers.includes(next)) return false;
  return true;
}

function choosePath(
  disk: MemoryFileSystem,
  how: "bitflip" | "misdirect",
  random: Random,
): string | undefined {
  const kinds: RegExp[] = [
    /\.table$/,
    /\.table$/,
    SEGMENT,
    SEGMENT,
    /\.manifest$|\/CURRENT$/,
    /\/identity\.json$|\/end$/,
  ];
  // Most of what lands on a file as small as this from elsewhere makes nonsense of it.
  if (how === "bitflip") kinds.push(IDENTITY_FILE);
  const kind = kinds[random.below(kinds.length)]!;
  const paths = disk.paths().filter((path) => kind.test(path));
  return paths[random.below(Math.max(1, paths.length))];
}

/** A block of any file, or zeros: what was meant for somewhere else. */
function blockOf(disk: MemoryFileSystem, random: Random): Uint8Array {
  const paths = disk.paths();
  const file = disk.readFile(paths[random.below(paths.length)]!);
  const blocks = Math.floor(file.length / BLOCK_BYTES);
  if (blocks === 0 || random.below(3) === 0) return new Uint8Array(BLOCK_BYTES);
  const start = random.below(blocks) * BLOCK_BYTES;
  return file.slice(start, start + BLOCK_BYTES);
}

function change(disk: MemoryFileSystem, path: string, start: number, bytes: Uint8Array): Damage | undefined {
  const before = disk.readFile(path);
  let isChanged = false;
  for (let at = 0; at < bytes.length; at++) {
    const mask = before[start + at]! ^ bytes[at]!;
    if (mask === 0) continue;
    disk.flip(path, start + at, mask);
    isChanged = true;
  }
  return isChanged ? { path, start, bytes } : undefined;
}

/** Up to where something that a power loss leaves says that the segment at `path` was durable: `byLog`: in the log itself. */
function vouchedEnds(
  disk: MemoryFileSystem,
  path: string,
): { readonly byLog: number; readonly anyhow: number } {
  const safe = new MemoryFileSystem();
  for (const [name, { bytes, size }] of disk.durableFiles(LOG)) {
    safe.writeFile(`${LOG}/${name}`, bytes.subarray(0, size));
  }
  const number = Number(SEGMENT.exec(path)![1]);
  if (!safe.exists(path)) return NOWHERE;
  try {
    const reader = readSegment(safe, path, number);
    let end = 0;
    while (reader.next()) end = Math.max(end, reader.vouchedFor);
    reader.close();
    const next = path.replace(/\d{12}/, String(number + 1).padStart(12, "0"));
    if (safe.exists(next)) end = Math.max(end, previousEnd(readSegment(safe, next, number + 1)));
    const noted = NotedEnd.open(safe, LOG, true);
    return { byLog: end, anyhow: noted.number === number ? Math.max(end, noted.offset) : end };
  } catch {
    // Something is damaged already.
    return NOWHERE;
  }
}

function segmentNumbers(disk: MemoryFileSystem): number[] {
  return disk.paths().flatMap((path) => {
    const match = SEGMENT.exec(path);
    return match === null ? [] : [Number(match[1])];
  });
}
