/** A bug that is planted in a copy of the tree, to see that the simulator finds it. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Each text must be there exactly once. */
  readonly edits: readonly { readonly find: string; readonly replace: string }[];
}

/** A mutant of one edit. */
export function mutant(name: string, file: string, find: string, replace: string): Mutant {
  return { name, file, edits: [{ find, replace }] };
}

/** A file's text with the bug in it. Throws where an edit does not apply exactly. */
export function plant({ name, file, edits }: Mutant, text: string): string {
  let changed = text;
  for (const { find, replace } of edits) {
    const places = changed.split(find).length - 1;
    if (places !== 1)
      throw new Error(`mutant ${name}: ${file} has ${places} places of ${JSON.stringify(find)}`);
    changed = changed.replace(find, () => replace);
  }
  return changed;
}
