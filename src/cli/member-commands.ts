/** The commands for who the nodes are, who leads, and what a group's log looks like. */
import { fromUtf8 } from "../lib/bytes.ts";
import type { Command } from "./commands.ts";
import { groupLogReply, membersReply } from "./member-view.ts";
import { numberOf, shardOf } from "./number-arguments.ts";
import { placementReply } from "./placement-view.ts";
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
    name: "drain",
    arguments: [{ syntax: "<node>", summary: "the node's id" }],
    options: [{ flags: "--undo", summary: "it may hold shards again" }],
    summary: "have a node give all its shards to others; it stays a node of the cluster",
    examples: ["drain n2", "drain n2 --undo"],
    takesKeys: false,
    plan: ([node], { undo }) => {
      const name = fromUtf8(node!);
      return async ({ client }) => {
        await (undo === undefined ? client.drainNode(name) : client.undrainNode(name));
        const text =
          undo === undefined ? `${name} gives its shards to others` : `${name} may hold shards again`;
        return textReply(true, text, { [undo === undefined ? "drained" : "undrained"]: name });
      };
    },
  },
  {
    name: "remove",
    arguments: [{ syntax: "<node>", summary: "the node's id" }],
    options: [],
    summary: "remove a node for good: others get its shards, and its name is never used again",
    examples: ["remove n2"],
    takesKeys: false,
    plan: ([node]) => {
      const name = fromUtf8(node!);
      return async ({ client }) => {
        await client.removeNode(name);
        return textReply(true, `${name} is removed; others get its shards`, { removed: name });
      };
    },
  },
  {
    name: "replace",
    arguments: [
      { syntax: "<node>", summary: "who goes, for good" },
      { syntax: "<successor>", summary: "who gets its shards: another node of the cluster" },
    ],
    options: [],
    summary: "remove a node for good, and have another one take its place",
    examples: ["replace n2 n4"],
    takesKeys: false,
    plan: ([node, successor]) => {
      const [name, next] = [fromUtf8(node!), fromUtf8(successor!)];
      return async ({ client }) => {
        await client.replaceNode(name, next);
        return textReply(true, `${next} takes the place of ${name}, which is removed`, {
          removed: name,
          successor: next,
        });
      };
    },
  },
  {
    name: "rebalance",
    arguments: [],
    options: [{ flags: "--dry-run", summary: "only show what there is to move" }],
    summary:
      "show which replicas are moved and will be, and have the cluster look at once; it moves them by itself",
    examples: ["rebalance --dry-run", "rebalance"],
    takesKeys: false,
    plan:
      (_, { dryRun }) =>
      async ({ client }) =>
        placementReply(await client.rebalance({ dryRun: dryRun !== undefined })),
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
      if (entries === 0) throw new UsageError("--limit is 0, and no entry would be shown.");
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
