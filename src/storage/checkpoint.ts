/**
 * A checkpoint: a directory that is a store of its own and holds what another one held at one moment. Tables never
 * change, so they need not be copied: the checkpoint gives each a second name (a hard link), and a manifest of its own
 * says which they are. From then on the two stores know nothing of each other; a table's bytes are freed when the last
 * name of it is gone.
 *
 * It is made under a name that nobody takes for a store (`DIR.tmp`), made durable there, and renamed when it is whole. So
 * under its own name it is there or it is not, whenever the power fails. What a checkpoint that was interrupted left under
 * the other name is replaced by the next one with the same target; it is locked while it is written, so that two of them
 * don't get into each other's way.
 */
import { dirname, resolve } from "node:path";
import { type Clock, FileError, type FileSystem } from "../env/env.ts";
import { makeDurableDirectory } from "./durable-directory.ts";
import { CURRENT, filePath, LOCK, parseFileName, TEMPORARY_SUFFIX } from "./file-names.ts";
import { type ManifestState, ManifestWriter } from "./manifest.ts";
import { syncOrFail } from "./record-log.ts";
import { messageOf, StorageError } from "./storage-error.ts";

/** Tables that are linked between two turns of the loop: some tens of microseconds each. */
const LINKS_PER_TURN = 32;

/**
 * Makes `directory` a store that holds the tables of `state`, which are files of the store in `source` and stay there
 * until this settles. All or nothing, and durable when it resolves. Rejects with `LOCKED` while the same checkpoint is
 * being made, and with `FileError`: `EEXIST` if `directory` exists, `EXDEV` if it is on another file system, `ENOSPC`.
 */
export async function writeCheckpoint(
  env: { readonly fs: FileSystem; readonly clock: Clock },
  source: string,
  directory: string,
  state: ManifestState,
): Promise<void> {
  const target = resolve(directory);
  try {
    await write(env, source, target, state);
  } catch (error) {
    if (error instanceof StorageError && error.code === "LOCKED") throw error;
    const code = codeOf(error);
    const hint = code === "EXDEV" ? "; it has to be on the file system of the store" : "";
    const message = `cannot make a checkpoint in ${directory}: ${messageOf(error)}${hint}`;
    throw new FileError(code, message, { cause: error });
  }
}

async function write(
  env: { readonly fs: FileSystem; readonly clock: Clock },
  source: string,
  target: string,
  state: ManifestState,
): Promise<void> {
  const { fs, clock } = env;
  if (fs.exists(target)) throw new FileError("EEXIST", "it exists");
  // What is left there by a crash would be taken for the store's own.
  if (`${target}/`.startsWith(`${resolve(source)}/`))
    throw new FileError("EINVAL", "it lies in the store's own directory");
  const parent = dirname(target);
  makeDurableDirectory(fs, parent);
  const temporary = target + TEMPORARY_SUFFIX;
  const lock = takeOver(fs, temporary);
  try {
    for (const [index, { number }] of state.tables.entries()) {
      if (index % LINKS_PER_TURN === LINKS_PER_TURN - 1) await nextTurn(clock);
      fs.link(filePath(source, number, "table"), filePath(temporary, number, "table"));
    }
    const number = state.nextFileNumber;
    const manifest = await ManifestWriter.create(fs, temporary, number, {
      ...state,
      nextFileNumber: number + 1,
    });
    manifest.close();
    fs.rename(temporary, target);
    try {
      await syncOrFail(fs.syncDirectory(parent), parent);
    } catch (error) {
      fs.rename(target, temporary);
      throw error;
    }
  } catch (error) {
    attempt(() => clear(fs, temporary));
    attempt(() => fs.remove(`${temporary}/${LOCK}`));
    attempt(() => fs.removeDirectory(temporary));
    throw error;
  } finally {
    lock.release();
  }
}

/** The directory `temporary`, empty but for the lock that is taken in it. */
function takeOver(fs: FileSystem, temporary: string): { release(): void } {
  const foreign = fs.list(temporary).find((name) => !isOfStore(name));
  if (foreign !== undefined) {
    throw new FileError("EEXIST", `${temporary} exists, and ${foreign} in it is no part of a checkpoint`);
  }
  fs.makeDirectory(temporary);
  const lock = fs.lock(`${temporary}/${LOCK}`);
  if (lock === undefined) {
    throw new StorageError("LOCKED", `the checkpoint in ${temporary} is being made by somebody else`);
  }
  try {
    clear(fs, temporary);
  } catch (error) {
    lock.release();
    throw error;
  }
  return lock;
}

function isOfStore(name: string): boolean {
  return (
    name === CURRENT ||
    name === CURRENT + TEMPORARY_SUFFIX ||
    name.startsWith(LOCK) ||
    parseFileName(name) !== undefined
  );
}

/** Removes the files of an unfinished checkpoint, its lock aside. */
function clear(fs: FileSystem, temporary: string): void {
  for (const name of fs.list(temporary)) if (!name.startsWith(LOCK)) fs.remove(`${temporary}/${name}`);
}

function nextTurn(clock: Clock): Promise<void> {
  return new Promise((done) => {
    clock.timer(0, done);
  });
}

/** Does what can be done after a failure: the error that is told is the first one. */
function attempt(action: () => void): void {
  try {
    action();
  } catch {
    // The disk does not even let us clean up; the next checkpoint with this target will.
  }
}

function codeOf(error: unknown): string {
  if (error instanceof FileError) return error.code;
  return error instanceof Error && error.cause instanceof FileError ? error.cause.code : "EIO";
}
