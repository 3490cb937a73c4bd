import { parseAddress } from "../client/client.ts";
import { UsageError } from "./commands.ts";

/** Where `npm start` serves. */
const DEFAULT_ADDRESSES = "127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003";

/** The addresses to ask: `--addr`, else the variable FLOTILLA_ADDR, else those of a local cluster. Throws `UsageError`. */
export function addressesFrom(option: string | undefined, variable: string | undefined): string[] {
  const source = option !== undefined ? "--addr" : "FLOTILLA_ADDR";
  const addresses = (option ?? (variable || DEFAULT_ADDRESSES)).split(",").map((text) => text.trim());
  for (const address of addresses) {
    if (parseAddress(address) === undefined) {
      throw new UsageError(
        `${source} names "${address}": host:port is expected, with commas between several.`,
      );
    }
  }
  return addresses;
}

/** `--timeout` in milliseconds; `undefined` without it. Throws `UsageError`. */
export function timeoutFrom(option: string | undefined): number | undefined {
  if (option === undefined) return undefined;
  const ms = Number(option);
  if (!Number.isSafeInteger(ms) || ms < 1) {
    throw new UsageError(`--timeout is "${option}": a whole number of milliseconds is expected.`);
  }
  return ms;
}
