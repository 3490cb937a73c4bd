/** The command for what a node has of a shard: a copy, a vote, or nothing. */
import type { Client } from "../client/client.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import type { Action, Command } from "./commands.ts";
import { shardOf } from "./number-arguments.ts";
import { textReply } from "./reply.ts";
import { UsageError } from "./usage-error.ts";

interface Change {
  readonly ask: (client: Client, node: string, options: { readonly shard?: number }) => Promise<boolean>;
  /** What has come about: the words between the node and the shard's name. */
  readonly done: string;
  /** Where it was done if no shard was named. */
  readonly everywhere: string;
}

const CHANGES: Readonly<Record<string, Change>> = {
  add: {
    ask: (client, node, options) => client.addReplica(node, options),
    ...{ done: "gets a copy of", everywhere: "every shard" },
  },
  promote: {
    ask: (client, node, options) => client.promoteReplica(node, options),
    ...{ done: "has a vote in", everywhere: "each shard of which it had a copy" },
  },
  demote: {
    ask: (client, node, options) => client.demoteReplica(node, options),
    ...{ done: "keeps a copy without a vote of", everywhere: "each shard in which it had a vote" },
  },
  remove: {
    ask: (client, node, options) => client.removeReplica(node, options),
    ...{ done: "has no copy any more of", everywhere: "any shard in which it has no vote" },
  },
};

export const REPLICA_COMMANDS: readonly Command[] = [
  {
    name: "member",
    arguments: [
      { syntax: "<action>", summary: "add, promote, demote or remove" },
      { syntax: "<node>", summary: "the node's id" },
      {
        syntax: "[shard]",
        summary: "which shard; without it all that the node has a part in, with add all there are",
      },
    ],
    options: [],
    summary: "change what a node has of a shard, or of all: a copy, a vote, or nothing",
    details: [
      "add      gives the node a copy of the shard without a vote, for stale reads, to keep",
      "promote  gives that copy a vote, in the place of another node's if there are as",
      "         many as --replicas says",
      "demote   has another node vote in its place, and leaves it the copy",
      "remove   takes its copy away; with a shard, has another node vote in its place too",
      "",
      "The cluster evens votes out after that, maybe to where they were. A node that should",
      "have nothing but copies: add, then demote. One that should have nothing: drain.",
    ],
    examples: ["member add n4 3", "member promote n4 3", "member demote n2 3", "member remove n4"],
    takesKeys: false,
    plan: planMember,
  },
];

function planMember(args: readonly Uint8Array[]): Action {
  const [action, node] = args.map((argument) => fromUtf8(argument));
  const change = Object.hasOwn(CHANGES, action!) ? CHANGES[action!]! : undefined;
  if (change === undefined) {
    throw new UsageError(`member ${action}: there are ${Object.keys(CHANGES).join(", ")}.`);
  }
  const shard = args[2] === undefined ? undefined : shardOf(args[2]);
  return async ({ client }) => {
    await change.ask(client, node!, shard === undefined ? {} : { shard });
    const where = shard === undefined ? change.everywhere : `shard ${shard}`;
    return textReply(true, `${node} ${change.done} ${where}`, { node, action, shard: shard ?? null });
  };
}
