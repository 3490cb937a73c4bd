/** How often a condition is looked at. */
const LOOK_EVERY_MS = 10;

/**
 * Waits until `condition` gives something other than `undefined` or `false`, and returns it. Errors of `condition` count as
 * "not yet". Rejects after `timeoutMs` with what was waited for and the last error.
 */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let problem: unknown;
  for (;;) {
    try {
      const found = await condition();
      if (found !== undefined && found !== false) return found;
      problem = undefined;
    } catch (error) {
      problem = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms in vain: ${what}`, { cause: problem });
    }
    await Bun.sleep(LOOK_EVERY_MS);
  }
}

/** What `promise` gives, or a rejection after `timeoutMs` that says what was waited for. */
export function within<T>(what: string, timeoutMs: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`waited ${timeoutMs} ms in vain: ${what}`)), timeoutMs);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
