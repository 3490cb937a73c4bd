/** The commands for who the nodes are, who leads, and what a group's log looks like. */
import { fromUtf8 } from "../lib/bytes.ts";
import type { Action, Command } from "./commands.ts";
import { groupLogReply, membersReply } from "./member-view.ts";
import { textReply } from "./reply.ts";
import { UsageError } from "./usage-error.ts";

export const MEMBER_COMMANDS: readonly Command[] = [
  {
    name: "members",
    arguments: [],
    options: [],
    summary: "show who the nodes are, and in how many groups each has a vote or a copy",
    examples: ["members"],
    takesKeys: false,
    plan:
      () =>
      async ({ client }) =>
        membersReply(await client.status()),
  },
  {
    name: "member",
    arguments: [
      { syntax: "<action>", summary: "add, promote or remove" },
      { syntax: "<node>", summary: "the node's id" },
      { syntax: "[address]", summary: "with add: host:port where the others reach it" },
    ],
    options: [],
    summary: "add a node (it gets copies, and no vote), give it a vote, or remove it for good",
    examples: ["member add n4 10.0.0.4:7001", "member promote n4", "member remove n2"],
    takesKeys: false,
    plan: planMember,
  },
  {
    name: "transfer-leader",
    arguments: [
      { syntax: "<node>", summary: "who shall lead" },
      { syntax: "[shard]", summary: "which shard; all that the node asked leads without it" },
    ],
    options: [{ flags: "--from <address>", summary: "host:port of the node to ask; any without it" }],
    summary: "hand the leadership of shards to a node",
    examples: ["transfer-leader n2 3", "transfer-leader n2 --from 127.0.0.1:7001"],
    takesKeys: false,
    plan: ([node, shard], { from }) => {
      const number = shard === undefined ? undefined : shardOf(shard);
      const address = from === undefined || from === true ? undefined : fromUtf8(from);
      return async ({ client }) => {
        await client.transferLeader(fromUtf8(node!), {
          ...(number === undefined ? {} : { shard: number }),
          ...(address === undefined ? {} : { address }),
        });
        return textReply(true, "OK", { transferred: true });
      };
    },
  },
  {
    name: "log",
    arguments: [
      { syntax: "[shard]", summary: "which shard; the system group without it" },
      { syntax: "[address]", summary: "host:port of the node; any without it" },
    ],
    options: [{ flags: "--limit <n>", summary: "most entries to show, default 20" }],
    summary: "show how a node's replica of a group is, and the last entries of its log",
    examples: ["log 3", "log 3 127.0.0.1:7002 --limit 100"],
    takesKeys: false,
    plan: ([shard, address], { limit }) => {
      const number = shard === undefined ? undefined : shardOf(shard);
      const entries = limit === undefined || limit === true ? 20 : numberOf(limit, "--limit");
      return async ({ client }) =>
        groupLogReply(
          await client.groupLog({
            limit: entries,
            ...(number === undefined ? {} : { shard: number }),
            ...(address === undefined ? {} : { address: fromUtf8(address) }),
          }),
        );
    },
  },
];

function planMember([action, node, address]: readonly Uint8Array[]): Action {
  const what = fromUtf8(action!);
  const name = fromUtf8(node!);
  if (what === "add" && address === undefined) {
    throw new UsageError("member add takes a node and its address, as in member add n4 10.0.0.4:7001.");
  }
  if (what !== "add" && address !== undefined) throw new UsageError(`member ${what} takes no address.`);
  switch (what) {
    case "add":
      return async ({ client }) => {
        await client.addMember(name, fromUtf8(address!));
        return textReply(true, `${name} is being brought up to date; promote gives it a vote`, {
          added: name,
        });
      };
    case "promote":
      return async ({ client }) => {
        await client.promoteMember(name);
        return textReply(true, `${name} gets a vote in each group as soon as it has caught up`, {
          promoted: name,
        });
      };
    case "remove":
      return async ({ client }) => {
        await client.removeMember(name);
        return textReply(true, `${name} leaves all groups`, { removed: name });
      };
    default:
      throw new UsageError(`member can add, promote and remove, not ${what}.`);
  }
}

const shardOf = (bytes: Uint8Array): number => numberOf(bytes, "the shard");

function numberOf(bytes: Uint8Array, what: string): number {
  const text = fromUtf8(bytes);
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`${what} is "${text}", which is no whole number.`);
  return Number(text);
}
