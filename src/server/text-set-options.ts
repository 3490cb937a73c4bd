import type { PutCondition } from "../../protocol/messages.ts";
import type { Arguments } from "./text-command.ts";
import { SYNTAX_ERROR } from "./text-errors.ts";
import { CLEAR, type ExpiryChange, isUnit, KEEP, parseTime, type Unit } from "./text-expiry-options.ts";
import { word } from "./text-words.ts";

/** What stands behind `SET key value`. */
export interface SetOptions extends ExpiryChange {
  readonly condition: PutCondition;
  readonly answersOld: boolean;
}

/** The options behind `SET key value`, judged as Redis does: first their syntax, then the number. `nowMs`: since the Unix epoch. */
export function parseSetOptions(args: Arguments, nowMs: number): SetOptions | { readonly error: string } {
  let condition: PutCondition = "always";
  let answersOld = false;
  let expiry: Unit | "KEEPTTL" | undefined;
  let time: Uint8Array | undefined;
  for (let i = 3; i < args.length; i++) {
    const option = word(args[i]!);
    if (option === "NX" || option === "XX") {
      const wanted = option === "NX" ? "ifAbsent" : "ifPresent";
      if (condition !== "always" && condition !== wanted) return { error: SYNTAX_ERROR };
      condition = wanted;
    } else if (option === "GET") {
      answersOld = true;
    } else if (option === "KEEPTTL") {
      if (time !== undefined) return { error: SYNTAX_ERROR };
      expiry = option;
    } else {
      // The same unit twice is taken, and the later time counts.
      const follows = isUnit(option) && (expiry === undefined || expiry === option) && i + 1 < args.length;
      if (!follows) return { error: SYNTAX_ERROR };
      expiry = option;
      time = args[++i]!;
    }
  }
  const change =
    expiry === undefined
      ? CLEAR
      : expiry === "KEEPTTL"
        ? KEEP
        : parseTime(expiry, time!, "positive", "set", nowMs);
  return "error" in change ? change : { condition, answersOld, ...change };
}
