/**
 * How a background job is ended early: the engine sets a number in shared memory, and the job looks at it where it pauses.
 */

/** What a job that was ended early rejects with; it has undone what it did. */
export class JobStopped extends Error {
  override readonly name = "JobStopped";
  readonly code = "STOPPED";
}

/** Also of an error that came from another thread. */
export function isStopped(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "STOPPED";
}

/** Asks the job that was given the buffer of `stop` to end. */
export function requestStop(stop: Int32Array): void {
  Atomics.store(stop, 0, 1);
}

/** Throws `JobStopped` if the job should end. */
export function checkStop(stop: Int32Array): void {
  if (Atomics.load(stop, 0) !== 0) throw new JobStopped("the job was ended early");
}
