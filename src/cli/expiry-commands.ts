/** The commands on deadlines: how long keys are still there. */
import type { Command } from "./commands.ts";
import { parseDuration, showDuration } from "./duration.ts";
import { type Reply, textReply } from "./reply.ts";

const KEY = { syntax: "<key>", summary: "the key" };

export const EXPIRY_COMMANDS: readonly Command[] = [
  {
    name: "ttl",
    arguments: [KEY],
    options: [],
    summary: "print how long a key is still there; (nil) and exit code 1 if there is none",
    examples: ["ttl session:1"],
    takesKeys: true,
    plan:
      ([key]) =>
      async ({ client }) =>
        ttlReply(await client.ttl(key!)),
  },
  {
    name: "expire",
    arguments: [KEY, { syntax: "<time>", summary: "how long the key stays: 500ms, 10s, 5m, 2h, 1d" }],
    options: [],
    summary: "have a key gone after a time; exit code 1 if there is none",
    examples: ["expire session:1 30m"],
    takesKeys: true,
    plan: ([key, time]) => {
      const ttlMs = parseDuration(time!, "the time");
      return async ({ client }) => {
        const set = await client.expire(key!, ttlMs);
        return textReply(set, set ? "OK" : "(no such key)", { set });
      };
    },
  },
  {
    name: "persist",
    arguments: [KEY],
    options: [],
    summary: "take the deadline of a key away; exit code 1 if it has none",
    examples: ["persist session:1"],
    takesKeys: true,
    plan:
      ([key]) =>
      async ({ client }) => {
        const changed = await client.persist(key!);
        return textReply(changed, changed ? "OK" : "(no such key, or it has no deadline)", { changed });
      },
  },
];

function ttlReply(ms: number | undefined): Reply {
  if (ms === undefined) return textReply(false, "(nil)", { found: false, ttlMs: null });
  if (ms === Number.POSITIVE_INFINITY) return textReply(true, "(stays)", { found: true, ttlMs: null });
  return textReply(true, showDuration(ms), { found: true, ttlMs: ms });
}
