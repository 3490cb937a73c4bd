/** What the files of an engine's directory are called. Numbers are shared by all kinds, and never used twice. */
export type FileKind = "table" | "wal" | "manifest";

/** Names the manifest that counts. */
export const CURRENT = "CURRENT";
/** Locked while the directory is open. */
export const LOCK = "LOCK";
/** What is written before it gets its real name, or only to see whether there is space. */
export const TEMPORARY_SUFFIX = ".tmp";

const NAME = /^(\d{6,15})\.(table|wal|manifest)$/;

/** `000012.table` */
export function fileName(number: number, kind: FileKind): string {
  return `${String(number).padStart(6, "0")}.${kind}`;
}

export function filePath(directory: string, number: number, kind: FileKind): string {
  return `${directory}/${fileName(number, kind)}`;
}

/** The number and kind in a name, or `undefined` for a name that is not of this form. */
export function parseFileName(name: string): { number: number; kind: FileKind } | undefined {
  const match = NAME.exec(name);
  return match === null ? undefined : { number: Number(match[1]), kind: match[2] as FileKind };
}
