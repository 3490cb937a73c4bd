/** The commands on keyspaces: which sets of keys there are. */
import { DEFAULT_KEYSPACE } from "../../protocol/ids.ts";
import type { Keyspace } from "../../protocol/messages.ts";
import type { Client } from "../client/client.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import type { Action, Command, Options } from "./commands.ts";
import { plainTable, type Reply, textReply } from "./reply.ts";
import { UsageError } from "./usage-error.ts";

const ACTIONS = ["create", "list", "show", "drop"] as const;

export const KEYSPACE_COMMANDS: readonly Command[] = [
  {
    name: "keyspace",
    arguments: [
      { syntax: "<action>", summary: "create, list, show or drop" },
      { syntax: "[name]", summary: "the keyspace's name; not with list" },
    ],
    options: [
      {
        flags: "--mode <mode>",
        summary: "with create: raft, which is the default (quorum is not offered yet)",
      },
      { flags: "--count", summary: "with show: count the keys, which goes through all of them" },
    ],
    summary:
      "create a set of keys of its own, show which there are, or remove one with all its keys for good",
    examples: [
      "keyspace create orders",
      "keyspace list",
      "keyspace show orders --count",
      "keyspace drop orders",
    ],
    takesKeys: false,
    plan: planKeyspace,
  },
];

function planKeyspace(args: readonly Uint8Array[], options: Options): Action {
  const [action, name] = args.map((argument) => fromUtf8(argument));
  if (!ACTIONS.some((known) => known === action)) {
    throw new UsageError(`keyspace ${action}: there are ${ACTIONS.join(", ")}.`);
  }
  if (options.mode !== undefined && action !== "create") {
    throw new UsageError(`keyspace ${action} takes no --mode.`);
  }
  if (options.count !== undefined && action !== "show") {
    throw new UsageError(`keyspace ${action} takes no --count.`);
  }
  if ((name === undefined) !== (action === "list")) {
    throw new UsageError(
      `keyspace ${action} takes ${action === "list" ? "no name" : "a name"}: see help keyspace.`,
    );
  }
  if (action === "list") return async ({ client }) => listReply(await client.listKeyspaces());
  if (action === "show") return ({ client }) => show(client, name!, options.count !== undefined);
  if (action === "create") return planCreate(name!, options);
  return async ({ client }) => {
    await client.dropKeyspace(name!);
    return textReply(true, `dropped ${name}; its space is given back by and by`, { dropped: name });
  };
}

function planCreate(name: string, { mode: given }: Options): Action {
  const mode = given === undefined || given === true ? "raft" : fromUtf8(given);
  if (mode !== "raft" && mode !== "quorum")
    throw new UsageError(`--mode is "${mode}": there are raft and quorum.`);
  return async ({ client }) => {
    const keyspace = await client.createKeyspace(name, { mode });
    return textReply(true, `created ${name} (number ${keyspace.id}, ${mode})`, keyspace);
  };
}

async function show(client: Client, name: string, counts: boolean): Promise<Reply> {
  const isDefault = name === DEFAULT_KEYSPACE;
  const found = isDefault
    ? { id: 0, name, mode: "raft" as const }
    : (await client.listKeyspaces()).find((keyspace) => keyspace.name === name);
  if (found === undefined) return textReply(false, "(no such keyspace)", null);
  const what = isDefault
    ? "default (raft): the keyspace that there always is"
    : `${name} (number ${found.id}, ${found.mode})`;
  if (!counts) return textReply(true, what, found);
  const keys = await countKeys(isDefault ? client : await client.keyspace(name));
  return textReply(
    true,
    `${what}\n${keys} key${keys === 1 ? "" : "s"}, counted one by one while others may write`,
    {
      ...found,
      keys,
    },
  );
}

async function countKeys(client: Client): Promise<number> {
  let keys = 0;
  for await (const _ of client.scan({ keysOnly: true })) keys++;
  return keys;
}

function listReply(keyspaces: readonly Keyspace[]): Reply {
  const all = [{ id: 0, name: DEFAULT_KEYSPACE, mode: "raft" }, ...keyspaces];
  return {
    ok: true,
    text: (look) => {
      if (!look.tables) return all.map(({ id, name, mode }) => `${name} ${id} ${mode}`).join("\n");
      const table = plainTable(["keyspace", "number", "mode"], [1]);
      for (const { id, name, mode } of all) table.push([name, String(id), mode]);
      return table.toString();
    },
    json: () => ({ keyspaces: all }),
  };
}
