/** What the checks know of one Raft group, whoever they heard it from: it is never forgotten, and never changes. */
export class Ledger {
  /** For people. */
  readonly name: string;
  /** By term: who was seen leading. */
  readonly leaders = new Map<number, string>();
  /** By term and voter: for whom. */
  readonly votes = new Map<string, string>();
  /** By the index of an entry that sets new voters beside the old ones, and its term: both sets. */
  readonly joint = new Map<string, readonly (readonly string[])[]>();
  /** By index and term: what the entry is, and the term of the one before it. */
  readonly #entries = new Map<string, { readonly content: string; prevTerm: number | undefined }>();
  /** By the index of an entry that changes the members, and its term: who they are then. */
  readonly #members = new Map<string, string>();
  /** By index: the term of the committed entry, and the term in which it was committed at the latest. */
  readonly #committed: { readonly term: number; readonly inTerm: number }[] = [];
  /** By term of a leader: the terms of the entries that it has told others of, by index. */
  readonly #told = new Map<number, Map<number, number>>();

  constructor(name: string) {
    this.name = name;
  }

  /** The last entry that is known to be committed. */
  get commit(): number {
    return this.#committed.length;
  }

  committedTerm(index: number): number | undefined {
    return this.#committed[index - 1]?.term;
  }

  /** The last entry that was committed in a term before `term`. */
  commitBefore(term: number): number {
    return this.#committed.findLastIndex(({ inTerm }) => inTerm < term) + 1;
  }

  /** The entry behind `commit` is committed. */
  commits(term: number, inTerm: number): void {
    this.#committed.push({ term, inTerm });
  }

  /** A leader of `inTerm` has the entry, and has said so. */
  tells(inTerm: number, index: number, term: number): void {
    let told = this.#told.get(inTerm);
    if (told === undefined) {
      told = new Map();
      this.#told.set(inTerm, told);
    }
    told.set(index, term);
  }

  /** The term of the entry that the leader of `inTerm` has at `index`, as far as it ever told. */
  told(inTerm: number, index: number): number | undefined {
    return this.#told.get(inTerm)?.get(index);
  }

  /** What is wrong about this entry, if anything is: it is another one than it was, or follows on another one. */
  entryFault(index: number, term: number, content: string, prevTerm: number | undefined): string | undefined {
    const key = `${index} of term ${term}`;
    const known = this.#entries.get(key);
    if (known === undefined) {
      this.#entries.set(key, { content, prevTerm });
      return undefined;
    }
    if (known.content !== content) return `entry ${key} is ${content}; it was ${known.content}`;
    known.prevTerm ??= prevTerm;
    if (prevTerm === undefined || prevTerm === known.prevTerm) return undefined;
    return `entry ${key} follows on one of term ${prevTerm}; it was term ${known.prevTerm}`;
  }

  /** What is wrong about these members, if anything is. */
  membersFault(index: number, term: number, members: string): string | undefined {
    const key = `${index} of term ${term}`;
    const known = this.#members.get(key) ?? members;
    this.#members.set(key, known);
    return known === members ? undefined : `with entry ${key} the members are ${members}; they were ${known}`;
  }
}
