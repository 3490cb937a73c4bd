import { FlotillaError } from "../../src/client/client.ts";

/** What became of a request: `no error`, or the code of its error and the outcome, with a space between. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof FlotillaError) return `${error.code} ${error.outcome}`;
    throw error;
  }
  return "no error";
}
