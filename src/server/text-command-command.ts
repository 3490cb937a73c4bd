/** COMMAND: the table of commands, for clients that route by key positions and for redis-cli's hints. */
import type { RespWriter } from "../../protocol/resp.ts";
import { type Arguments, NO_KEYS, type TextCommand, type TextSession, textCommand } from "./text-command.ts";
import { writeHints, writeKeySpecs } from "./text-key-specs.ts";
import { container } from "./text-subcommands.ts";
import { word } from "./text-words.ts";

/** `table`: all commands, this one included. */
export function commandCommand(table: () => readonly TextCommand[]): TextCommand {
  const find = (name: Uint8Array): TextCommand | undefined => {
    const wanted = word(name).toLowerCase();
    return table().find((command) => command.name === wanted);
  };
  const sub = (name: string, arity: number, summary: string, run: TextCommand["run"]): TextCommand =>
    textCommand(`command|${name}`, arity, "", NO_KEYS, "none", "server", summary, run);
  const command = container("command", "server", "Tells about commands.", [
    sub("count", 2, "Returns the number of commands.", (session, _args, slot) => {
      session.begin(slot).integer(table().length);
      session.end(slot);
    }),
    sub("list", -2, "Returns the names of all commands.", (session, _args, slot) => {
      const writer = session.begin(slot);
      writer.arrayHeader(table().length);
      for (const { name } of table()) writer.text(name);
      session.end(slot);
    }),
    sub("info", -2, "Describes commands.", (session, args, slot) =>
      writeInfos(session, slot, args.length === 2 ? table() : args.slice(2).map(find)),
    ),
    sub("docs", -2, "Documents commands.", (session, args, slot) =>
      writeDocs(session, slot, args.length === 2 ? table() : args.slice(2).map(find)),
    ),
    sub("getkeys", -3, "Returns the keys of a command.", (session, args, slot) =>
      getKeys(session, slot, args.slice(2), find(args[2]!)),
    ),
  ]);
  return {
    ...command,
    arity: -1,
    run: (session, args, slot) =>
      args.length === 1 ? writeInfos(session, slot, table()) : command.run(session, args, slot),
  };
}

function writeInfos(
  session: TextSession,
  slot: number,
  commands: readonly (TextCommand | undefined)[],
): void {
  const writer = session.begin(slot);
  writer.arrayHeader(commands.length);
  for (const command of commands) writeInfo(writer, command);
  session.end(slot);
}

/** Ten fields, as since Redis 7; of the categories nothing is told. */
function writeInfo(writer: RespWriter, command: TextCommand | undefined): void {
  if (command === undefined) {
    writer.nullBulk();
    return;
  }
  writer.arrayHeader(10);
  writer.text(command.name);
  writer.integer(command.arity);
  writer.setHeader(command.flags.length);
  for (const flag of command.flags) writer.simple(flag);
  writer.integer(command.firstKey);
  writer.integer(command.lastKey);
  writer.integer(command.keyStep);
  writer.setHeader(0);
  writeHints(writer, command);
  writeKeySpecs(writer, command);
  const subcommands = [...(command.subcommands?.values() ?? [])];
  if (subcommands.length === 0) writer.setHeader(0);
  else writer.arrayHeader(subcommands.length);
  for (const sub of subcommands) writeInfo(writer, sub);
}

function writeDocs(session: TextSession, slot: number, commands: readonly (TextCommand | undefined)[]): void {
  const known = commands.filter((command) => command !== undefined);
  const writer = session.begin(slot);
  writer.mapHeader(known.length);
  for (const { name, summary, group } of known) {
    writer.text(name);
    writer.mapHeader(2);
    writer.text("summary");
    writer.text(summary);
    writer.text("group");
    writer.text(group);
  }
  session.end(slot);
}

function getKeys(
  session: TextSession,
  slot: number,
  args: Arguments,
  command: TextCommand | undefined,
): void {
  if (command === undefined) {
    session.error(slot, "ERR Invalid command specified");
    return;
  }
  if (command.firstKey === 0) {
    session.error(slot, "ERR The command has no key arguments");
    return;
  }
  const fits = command.arity >= 0 ? args.length === command.arity : args.length >= -command.arity;
  if (!fits) {
    session.error(slot, "ERR Invalid number of arguments specified for command");
    return;
  }
  const last = command.lastKey < 0 ? args.length + command.lastKey : command.lastKey;
  const keys: Uint8Array[] = [];
  for (let i = command.firstKey; i <= last; i += command.keyStep) keys.push(args[i]!);
  const writer = session.begin(slot);
  writer.arrayHeader(keys.length);
  for (const key of keys) writer.bulk(key);
  session.end(slot);
}
