/** A broken invariant: the process can no longer trust its own state and must stop. Never caught to go on. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * Asserts an invariant of this program, in production too. A violated assertion stops the node (see `main.ts`):
 * serving on with a state that cannot be is how stores lose data.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/**
 * A violated assertion by itself: `if (!condition) broken(...)` on paths where making the words for `assert` would cost more
 * than what they guard.
 */
export function broken(message: string): never {
  throw new AssertionError(message);
}

/** The default branch of a `switch` over a union: a compile error when a case is missing, an assertion at run time. */
export function unreachable(value: never, what: string): never {
  throw new AssertionError(`${what}: unexpected ${JSON.stringify(value)}`);
}
