import { fromUtf8 } from "../lib/bytes.ts";
import { type Arguments, NO_KEYS, type TextCommand, type TextSession, textCommand } from "./text-command.ts";
import { word } from "./text-words.ts";

/** A command that only has subcommands, and answers HELP about them. `subcommands` are named `container|name`. */
export function container(
  name: string,
  group: string,
  summary: string,
  subcommands: readonly TextCommand[],
): TextCommand {
  const byName = new Map(subcommands.map((sub) => [sub.name.slice(name.length + 1).toUpperCase(), sub]));
  const run = (session: TextSession, args: Arguments, slot: number): void => {
    const wanted = word(args[1]!);
    const sub = byName.get(wanted);
    if (sub !== undefined) {
      const fits = sub.arity >= 0 ? args.length === sub.arity : args.length >= -sub.arity;
      if (fits) sub.run(session, args, slot);
      else session.error(slot, wrongArity(sub.name));
    } else if (wanted === "HELP" && args.length === 2) {
      help(session, slot, name, byName);
    } else {
      const asked = fromUtf8(args[1]!.subarray(0, 128));
      session.error(slot, `ERR unknown subcommand '${asked}'. Try ${name.toUpperCase()} HELP.`);
    }
  };
  return {
    ...textCommand(name, -2, "", NO_KEYS, "none", group, summary, run),
    subcommands: byName,
  };
}

/** The error for a wrong number of arguments. */
export function wrongArity(name: string): string {
  return `ERR wrong number of arguments for '${name}' command`;
}

function help(
  session: TextSession,
  slot: number,
  name: string,
  subcommands: ReadonlyMap<string, TextCommand>,
): void {
  const writer = session.begin(slot);
  writer.arrayHeader(1 + subcommands.size * 2);
  writer.simple(`${name.toUpperCase()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:`);
  for (const [sub, { summary }] of subcommands) {
    writer.simple(sub);
    writer.simple(`    ${summary}`);
  }
  session.end(slot);
}
