/** CLIENT and its subcommands. */
import { fromUtf8 } from "../lib/bytes.ts";
import { type Arguments, NO_KEYS, type TextSession, textCommand } from "./text-command.ts";
import { SYNTAX_ERROR } from "./text-errors.ts";
import { parseCount } from "./text-integer.ts";
import { container } from "./text-subcommands.ts";
import { word } from "./text-words.ts";

export const CLIENT_COMMAND = container("client", "connection", "Commands about connections.", [
  sub("id", 2, "Returns the id of the connection.", (session, _args, slot) => {
    session.begin(slot).integer(session.id);
    session.end(slot);
  }),
  sub("getname", 2, "Returns the name of the connection.", (session, _args, slot) => {
    const writer = session.begin(slot);
    if (session.name === "") writer.nullBulk();
    else writer.text(session.name);
    session.end(slot);
  }),
  sub("setname", 3, "Names the connection.", setName),
  sub("setinfo", 4, "Tells the client library's name (LIB-NAME) or version (LIB-VER).", setInfo),
  sub("list", -2, "Lists the connections of the text mode.", list),
  sub("info", 2, "Describes the connection.", (session, _args, slot) => {
    session.begin(slot).text(`${session.describe()}\n`);
    session.end(slot);
  }),
  sub("no-evict", 3, "Does nothing: no connection is ever evicted.", (session, args, slot) => {
    const mode = word(args[2]!);
    if (mode === "ON" || mode === "OFF") session.simple(slot, "OK");
    else session.error(slot, SYNTAX_ERROR);
  }),
  sub("reply", 3, "REPLY ON|OFF|SKIP: whether commands are answered.", reply),
]);

/** Whether a name has visible ASCII characters only, as Redis demands. */
export function isPlainName(name: string): boolean {
  return /^[!-~]*$/.test(name);
}

function sub(
  name: string,
  arity: number,
  summary: string,
  run: (session: TextSession, args: Arguments, slot: number) => void,
) {
  return textCommand(`client|${name}`, arity, "noscript", NO_KEYS, "none", "connection", summary, run);
}

function setName(session: TextSession, args: Arguments, slot: number): void {
  const name = fromUtf8(args[2]!);
  if (!isPlainName(name)) {
    session.error(slot, "ERR Client names cannot contain spaces, newlines or special characters.");
    return;
  }
  session.name = name;
  session.simple(slot, "OK");
}

function setInfo(session: TextSession, args: Arguments, slot: number): void {
  const option = word(args[2]!);
  const value = fromUtf8(args[3]!);
  if (option !== "LIB-NAME" && option !== "LIB-VER") {
    session.error(slot, `ERR Unrecognized option '${fromUtf8(args[2]!)}'`);
    return;
  }
  if (!isPlainName(value)) {
    const what = option.toLowerCase();
    session.error(slot, `ERR ${what} cannot contain spaces, newlines or special characters.`);
    return;
  }
  if (option === "LIB-NAME") session.libraryName = value;
  else session.libraryVersion = value;
  session.simple(slot, "OK");
}

function list(session: TextSession, args: Arguments, slot: number): void {
  let sessions = [...session.clients.sessions()];
  if (args.length > 2) {
    const option = word(args[2]!);
    if (option === "TYPE" && args.length === 4) {
      const type = word(args[3]!);
      if (!["NORMAL", "MASTER", "REPLICA", "SLAVE", "PUBSUB"].includes(type)) {
        session.error(slot, `ERR Unknown client type '${fromUtf8(args[3]!)}'`);
        return;
      }
      if (type !== "NORMAL") sessions = [];
    } else if (option === "ID" && args.length > 3) {
      const ids = args.slice(3).map(parseCount);
      if (ids.some((id) => id === undefined || id < 1)) {
        session.error(slot, "ERR Invalid client ID");
        return;
      }
      sessions = sessions.filter(({ id }) => ids.includes(id));
    } else {
      session.error(slot, SYNTAX_ERROR);
      return;
    }
  }
  session.begin(slot).text(sessions.map((each) => `${each.describe()}\n`).join(""));
  session.end(slot);
}

function reply(session: TextSession, args: Arguments, slot: number): void {
  switch (word(args[2]!)) {
    case "ON":
      session.mute("on", slot);
      break;
    case "OFF":
      session.mute("off", slot);
      break;
    case "SKIP":
      session.mute("skip", slot);
      break;
    default:
      session.error(slot, SYNTAX_ERROR);
      return;
  }
  session.simple(slot, "OK");
}
