/** The lines that were typed, kept from one REPL to the next. Losing them is no error. */
import { readFileSync, writeFileSync } from "node:fs";

export const HISTORY_LINES_MAX = 1000;

/** The lines of a history file, newest first, as readline wants them; none if the file can't be read. */
export function readHistory(path: string): string[] {
  try {
    const lines = readFileSync(path, "utf8").split("\n");
    return lines
      .filter((line) => line !== "")
      .reverse()
      .slice(0, HISTORY_LINES_MAX);
  } catch {
    return [];
  }
}

/** Keeps the newest of `lines`, which come newest first. */
export function writeHistory(path: string, lines: readonly string[]): void {
  try {
    const kept = lines.slice(0, HISTORY_LINES_MAX).reverse();
    // For its owner alone: values may be secret.
    writeFileSync(path, kept.map((line) => `${line}\n`).join(""), { mode: 0o600 });
  } catch {
    // A read-only home directory must not disturb the work.
  }
}
