import type { PutCondition } from "../../protocol/messages.ts";
import type { Arguments } from "./text-command.ts";
import { NOT_AN_INTEGER, notSupported, SYNTAX_ERROR } from "./text-errors.ts";
import { parseInt64 } from "./text-integer.ts";
import { word } from "./text-words.ts";

/**
 * The options behind `SET key value`, judged as Redis does: first their syntax, then the expiry's number. What Flotilla
 * does not have (expiry, GET) is refused in words, since a client that believes in an expiry would keep a key for ever.
 */
export function parseSetOptions(args: Arguments): PutCondition | { readonly error: string } {
  let condition: PutCondition = "always";
  let unsupported: string | undefined;
  let expiry: string | undefined;
  let expiryValue: Uint8Array | undefined;
  for (let i = 3; i < args.length; i++) {
    const option = word(args[i]!);
    switch (option) {
      case "NX":
      case "XX": {
        const wanted = option === "NX" ? "ifAbsent" : "ifPresent";
        if (condition !== "always" && condition !== wanted) return { error: SYNTAX_ERROR };
        condition = wanted;
        break;
      }
      case "GET":
        unsupported ??= option;
        break;
      case "KEEPTTL":
        if (expiry !== undefined) return { error: SYNTAX_ERROR };
        expiry = option;
        break;
      case "EX":
      case "PX":
      case "EXAT":
      case "PXAT":
        if (expiry !== undefined || i + 1 === args.length) return { error: SYNTAX_ERROR };
        expiry = option;
        expiryValue = args[++i]!;
        break;
      default:
        return { error: SYNTAX_ERROR };
    }
  }
  if (expiryValue !== undefined) {
    const time = parseInt64(expiryValue);
    if (time === undefined) return { error: NOT_AN_INTEGER };
    if (time <= 0n) return { error: "ERR invalid expire time in 'set' command" };
  }
  unsupported ??= expiry;
  return unsupported === undefined ? condition : { error: notSupported(`the option ${unsupported} of SET`) };
}
