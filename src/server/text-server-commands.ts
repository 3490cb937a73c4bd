/** Commands about the node and the cluster. */

import type { ReplySink } from "../../protocol/handler.ts";
import { VALUE_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { globMatches } from "./glob.ts";
import { type Arguments, NO_KEYS, type TextCommand, type TextSession, textCommand } from "./text-command.ts";
import { errorText, notSupported } from "./text-errors.ts";
import { infoText } from "./text-info.ts";
import { statusText } from "./text-status.ts";
import { container } from "./text-subcommands.ts";

const sub = (name: string, arity: number, summary: string, run: TextCommand["run"]): TextCommand =>
  textCommand(name, arity, "", NO_KEYS, "none", "server", summary, run);

export const SERVER_COMMANDS: readonly TextCommand[] = [
  textCommand("info", -1, "", NO_KEYS, "none", "server", "Tells about the node, by sections.", info),
  textCommand(
    "role",
    1,
    "noscript loading stale fast",
    NO_KEYS,
    "none",
    "server",
    "Returns master: any node takes writes. Of offsets and replicas nothing is told.",
    role,
  ),
  textCommand(
    "time",
    1,
    "fast",
    NO_KEYS,
    "none",
    "server",
    "Returns the node's time: seconds, microseconds.",
    time,
  ),
  textCommand(
    "status",
    1,
    "",
    NO_KEYS,
    "none",
    "flotilla",
    "Shows nodes, shards and their leaders, for people.",
    status,
  ),
  container("config", "server", "Tells settings.", [
    sub("config|get", -3, "Returns the settings whose names match a pattern.", configGet),
    sub("config|set", -4, "Is refused: settings are given when a node starts.", (session, _args, slot) =>
      session.error(slot, notSupported("CONFIG SET")),
    ),
  ]),
];

/** Settings that clients and tools ask for, as they would read in a Redis that works like this node. */
function settings(session: TextSession): readonly (readonly [string, string])[] {
  const { limits, port, redirect } = session.clients;
  return [
    ["appendfsync", "always"],
    ["appendonly", "yes"],
    ["cluster-enabled", redirect === "moved" ? "yes" : "no"],
    ["databases", "1"],
    ["maxclients", String(limits.connectionsMax)],
    ["maxmemory", "0"],
    ["maxmemory-policy", "noeviction"],
    ["port", String(port)],
    ["proto-max-bulk-len", String(VALUE_BYTES_MAX)],
    ["requirepass", ""],
    ["save", ""],
    ["timeout", "0"],
  ];
}

function configGet(session: TextSession, args: Arguments, slot: number): void {
  const patterns = args.slice(2).map((pattern) => utf8(fromUtf8(pattern).toLowerCase()));
  const found = settings(session).filter(([name]) =>
    patterns.some((pattern) => globMatches(pattern, utf8(name))),
  );
  const writer = session.begin(slot);
  writer.mapHeader(found.length);
  for (const [name, value] of found) {
    writer.text(name);
    writer.text(value);
  }
  session.end(slot);
}

function role(session: TextSession, _args: Arguments, slot: number): void {
  const writer = session.begin(slot);
  writer.arrayHeader(3);
  writer.text("master");
  writer.integer(0);
  writer.arrayHeader(0);
  session.end(slot);
}

function time(session: TextSession, _args: Arguments, slot: number): void {
  const nowMs = session.clients.env.clock.wallMs();
  const seconds = Math.floor(nowMs / 1000);
  const writer = session.begin(slot);
  writer.arrayHeader(2);
  writer.text(String(seconds));
  writer.text(String(Math.floor((nowMs - seconds * 1000) * 1000)));
  session.end(slot);
}

function info(session: TextSession, args: Arguments, slot: number): void {
  const sections = args.slice(1).map((section) => fromUtf8(section).toLowerCase());
  ask(session, slot, "node", (response) =>
    response.kind === "nodeStatus" ? infoText(response.status, session.clients, sections) : undefined,
  );
}

function status(session: TextSession, _args: Arguments, slot: number): void {
  ask(session, slot, "cluster", (response) =>
    response.kind === "clusterStatus" ? statusText(response.status) : undefined,
  );
}

/** Asks for a status and answers with a text that is made of it; `undefined`: of such a response none can be made. */
function ask(
  session: TextSession,
  slot: number,
  scope: "node" | "cluster",
  render: (response: ClientResponse) => string | undefined,
): void {
  const sink: ReplySink = {
    reply: (_requestId, response) => {
      const text = render(response);
      const writer = session.begin(slot);
      if (text === undefined) writer.error(errorText(response));
      else writer.verbatim(text);
      session.end(slot);
    },
  };
  session.clients.handler.execute({ kind: "status", scope }, sink, 0, "forward");
}
