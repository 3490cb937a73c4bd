/** A command line that can't be meant so; the message is a sentence for the user. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
