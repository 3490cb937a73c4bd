/** Something in a store that is not as it should be. */
export interface Problem {
  /** The file, or the directory where a file is missing. */
  readonly path: string;
  /** Where in the file, in bytes. */
  readonly offset: number;
  readonly what: string;
}

/** `data/000012.table: offset 4096: a block of ...` */
export function showProblem({ path, offset, what }: Problem): string {
  return `${path}: offset ${offset}: ${what}`;
}
