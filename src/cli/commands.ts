/**
 * All commands, once for the REPL and for the one-shot tool: what they are called, what they take, and what they do.
 * Arguments are judged (`plan`) before any node is asked, so that a mistake in a command line costs nothing.
 */
import type { Client } from "../client/client.ts";
import { compareBytes, fromUtf8, prefixEnd } from "../lib/bytes.ts";
import { parseDuration } from "./duration.ts";
import { EXPIRY_COMMANDS } from "./expiry-commands.ts";
import { KEYSPACE_COMMANDS } from "./keyspace-commands.ts";
import { MEMBER_COMMANDS } from "./member-commands.ts";
import { PLACE_COMMANDS } from "./place-commands.ts";
import { REPLICA_COMMANDS } from "./replica-commands.ts";
import { integerReply, type Reply, textReply, valueReply } from "./reply.ts";
import { scanReply } from "./scan-pages.ts";
import { nodeStatusReply, statusReply, topologyReply } from "./status-view.ts";
import { UsageError } from "./usage-error.ts";

export { UsageError } from "./usage-error.ts";

/** What a command can reach. */
export interface CommandContext {
  readonly client: Client;
  /** Everything that comes in on standard input; `undefined` where the commands themselves come from there. */
  readonly readInput: (() => Promise<Uint8Array>) | undefined;
}

export type Action = (context: CommandContext) => Promise<Reply>;

/** The options of a command line: a flag without a value is `true`. */
export type Options = Readonly<Record<string, Uint8Array | true | undefined>>;

export interface Command {
  readonly name: string;
  readonly alias?: string;
  /** As shown in help: `<key>` is required, `[prefix]` is not, `<pairs...>` takes all that follow. */
  readonly arguments: readonly { readonly syntax: string; readonly summary: string }[];
  readonly options: readonly {
    readonly flags: string;
    readonly summary: string;
    /** The REPL does not have it. */
    readonly cliOnly?: true;
  }[];
  /** A line among the others. */
  readonly summary: string;
  /** What its own help says beside that: lines of at most 80 characters. */
  readonly details?: readonly string[];
  readonly examples: readonly string[];
  /** Whether arguments are keys, which Tab then completes. */
  readonly takesKeys: boolean;
  /** Throws `UsageError`. */
  plan(args: readonly Uint8Array[], options: Options): Action;
}

/** Entries that a scan shows unless it is asked for more. */
const SCAN_LIMIT = 1000;
const WATCH_SECONDS = 2;

const KEY = { syntax: "<key>", summary: "the key" };
const STALE = {
  flags: "--stale",
  summary: "read what any replica has, which may be older than the latest write",
};
const LEASE = {
  flags: "--lease",
  summary: "trust the leader's clock instead of asking a majority, in a cluster that has leases",
};
const READ_OPTIONS = [STALE, LEASE];

function consistency(options: Options): { readonly consistency: "linearizable" | "stale" | "lease" } {
  const { stale, lease } = options;
  if (stale === true && lease === true) throw new UsageError("--stale and --lease exclude each other.");
  return { consistency: stale === true ? "stale" : lease === true ? "lease" : "linearizable" };
}

export const COMMANDS: readonly Command[] = [
  {
    name: "get",
    arguments: [KEY],
    options: READ_OPTIONS,
    summary: "print the value of a key; (nil) and exit code 1 if there is none",
    examples: ["get user:1", "get user:1 --stale"],
    takesKeys: true,
    plan: ([key], options) => {
      const how = consistency(options);
      return async ({ client }) => valueReply(await client.get(key!, how));
    },
  },
  {
    name: "put",
    alias: "set",
    arguments: [
      KEY,
      { syntax: "<value>", summary: 'the value; bun run cli reads it from standard input for "-"' },
    ],
    options: [
      { flags: "--if-absent", summary: "only if there is no such key" },
      { flags: "--if-present", summary: "only if there is such a key" },
      { flags: "--ttl <time>", summary: "the key is gone after so long: 500ms, 10s, 5m, 2h, 1d" },
    ],
    summary: "set a key to a value",
    examples: ["put user:1 Ada", 'put "a key" "line\\nbreak"', "put lock me --if-absent --ttl 10s"],
    takesKeys: true,
    plan: planPut,
  },
  {
    name: "delete",
    alias: "del",
    arguments: [KEY],
    options: [],
    summary: "remove a key",
    examples: ["delete user:1"],
    takesKeys: true,
    plan:
      ([key]) =>
      async ({ client }) => {
        const deleted = await client.delete(key!);
        return textReply(deleted, deleted ? "deleted" : "(no such key)", { deleted });
      },
  },
  {
    name: "exists",
    arguments: [KEY],
    options: READ_OPTIONS,
    summary: "say whether there is such a key",
    examples: ["exists user:1"],
    takesKeys: true,
    plan: ([key], options) => {
      const how = consistency(options);
      return async ({ client }) => {
        const exists = await client.exists(key!, how);
        return textReply(exists, String(exists), { exists });
      };
    },
  },
  {
    name: "scan",
    arguments: [{ syntax: "[prefix]", summary: "what the keys begin with; all keys without it" }],
    options: [
      { flags: "--from <key>", summary: "the first key (included)" },
      { flags: "--to <key>", summary: "the last key (excluded)" },
      { flags: "--limit <n>", summary: `most entries to print, default ${SCAN_LIMIT}` },
      { flags: "--keys-only", summary: "leave the values out" },
      { flags: "--snapshot", summary: "read each shard as it is when the scan begins" },
      ...READ_OPTIONS,
    ],
    summary: "print keys and values in the order of the keys",
    examples: ["scan user:", "scan --from a --to b --limit 10", "scan user: --keys-only"],
    takesKeys: true,
    plan: planScan,
  },
  {
    name: "incr",
    arguments: [KEY, { syntax: "[by]", summary: "how much to add, default 1; may be negative" }],
    options: [],
    summary: "add to the number that a key holds, and print the sum",
    examples: ["incr visits", "incr visits 10", "incr visits -1"],
    takesKeys: true,
    plan: ([key, by]) => {
      const delta = by === undefined ? 1n : integerOf(by, "what to add");
      return async ({ client }) => integerReply(await client.increment(key!, delta));
    },
  },
  {
    name: "cas",
    arguments: [
      KEY,
      { syntax: "[expected]", summary: "the value that the key must hold (leave out with --if-absent)" },
      { syntax: "[new]", summary: "the value that it gets (leave out with --delete)" },
    ],
    options: [
      { flags: "--if-absent", summary: "expect that there is no such key" },
      { flags: "--delete", summary: "remove the key instead of setting it" },
    ],
    summary: "compare and set: change a key only if it holds what is expected",
    examples: ["cas state idle busy", "cas state --if-absent idle", "cas state busy --delete"],
    takesKeys: true,
    plan: planCompareAndSet,
  },
  {
    name: "mput",
    alias: "mset",
    arguments: [{ syntax: "<pairs...>", summary: "keys and values by turns" }],
    options: [
      { flags: "--atomic", summary: "all or nothing; the keys must lie in one shard (share a {tag})" },
    ],
    summary: "set many keys; those of one shard are set together",
    examples: ["mput a 1 b 2 c 3", "mput {cart}:1 apple {cart}:2 pear --atomic"],
    takesKeys: true,
    plan: planManyPuts,
  },
  {
    name: "ping",
    arguments: [{ syntax: "[address]", summary: "host:port of the node; any without it" }],
    options: [],
    summary: "ask a node for a sign of life",
    examples: ["ping", "ping 127.0.0.1:7002"],
    takesKeys: false,
    plan:
      ([address]) =>
      async ({ client }) => {
        const ms = await client.ping(textOf(address));
        return textReply(true, `pong after ${ms.toFixed(2)} ms`, { ms });
      },
  },
  {
    name: "info",
    arguments: [{ syntax: "[address]", summary: "host:port of the node; any without it" }],
    options: [],
    summary: "show how one node is: its shards, requests, storage and memory",
    examples: ["info", "info 127.0.0.1:7002"],
    takesKeys: false,
    plan:
      ([address]) =>
      async ({ client }) => {
        const node = textOf(address);
        return nodeStatusReply(
          await client.status(node === undefined ? { scope: "node" } : { scope: "node", address: node }),
        );
      },
  },
  {
    name: "status",
    arguments: [],
    options: [
      {
        flags: "--watch [seconds]",
        summary: "show it again and again, default every 2 seconds",
        cliOnly: true,
      },
    ],
    summary: "show all nodes and shards; exit code 1 if a shard has no leader",
    examples: ["status"],
    takesKeys: false,
    plan: planStatus,
  },
  {
    name: "topology",
    arguments: [],
    options: [],
    summary: "show who the nodes are and who leads which shard",
    examples: ["topology"],
    takesKeys: false,
    plan:
      () =>
      async ({ client }) =>
        topologyReply(await client.topology()),
  },
  ...EXPIRY_COMMANDS,
  ...KEYSPACE_COMMANDS,
  ...PLACE_COMMANDS,
  ...MEMBER_COMMANDS,
  ...REPLICA_COMMANDS,
];

function planStatus(_args: readonly Uint8Array[], { watch }: Options): Action {
  if (watch === undefined) return async ({ client }) => statusReply(await client.status());
  const text = watch === true ? String(WATCH_SECONDS) : fromUtf8(watch);
  const afterMs = Number(text) * 1000;
  if (!/^\d+(\.\d+)?$/.test(text) || afterMs < 100 || afterMs > 3_600_000) {
    throw new UsageError(`--watch is "${text}": a number of seconds from 0.1 to 3600 is expected.`);
  }
  return ({ client }) => {
    const ask = async (): Promise<Reply> => ({
      ...statusReply(await client.status()),
      again: { afterMs, ask },
    });
    return ask();
  };
}

function planPut(args: readonly Uint8Array[], options: Options): Action {
  const [key, value] = args;
  if (options.ifAbsent === true && options.ifPresent === true) {
    throw new UsageError("--if-absent and --if-present exclude each other.");
  }
  const condition =
    options.ifAbsent === true ? "ifAbsent" : options.ifPresent === true ? "ifPresent" : "always";
  const ttl = bytesOption(options.ttl);
  const ttlMs = ttl === undefined ? undefined : parseDuration(ttl, "--ttl");
  return async ({ client, readInput }) => {
    const isInput = readInput !== undefined && fromUtf8(value!) === "-";
    const written = await client.put(key!, isInput ? await readInput() : value!, { condition, ttlMs });
    const refusal = condition === "ifAbsent" ? "(the key exists)" : "(no such key)";
    return textReply(written, written ? "OK" : refusal, { written });
  };
}

function planScan(args: readonly Uint8Array[], options: Options): Action {
  const [prefix] = args;
  const from = bytesOption(options.from);
  const to = bytesOption(options.to);
  const limitText = bytesOption(options.limit);
  const limit = limitText === undefined ? SCAN_LIMIT : Number(integerOf(limitText, "--limit"));
  if (limit < 1) throw new UsageError(`--limit is ${limit}: it must be at least 1.`);
  const keysOnly = options.keysOnly === true;
  const how = consistency(options);
  // Where both a prefix and a range are given, what both allow.
  const start = later(prefix, from);
  const end = earlier(prefix === undefined ? undefined : prefixEnd(prefix), to);
  return async ({ client }) => {
    const scan = client.scan({
      ...(start === undefined ? {} : { start }),
      ...(end === undefined ? {} : { end }),
      // One more than is shown tells whether there is more.
      limit: limit + 1,
      keysOnly,
      snapshot: options.snapshot === true,
      ...how,
    });
    return scanReply(scan, limit, keysOnly);
  };
}

function planCompareAndSet(args: readonly Uint8Array[], options: Options): Action {
  const [key, ...values] = args;
  const expectsAbsent = options.ifAbsent === true;
  const deletes = options.delete === true;
  const wanted = (expectsAbsent ? 0 : 1) + (deletes ? 0 : 1);
  if (expectsAbsent && deletes)
    throw new UsageError("cas with --if-absent and --delete would change nothing.");
  if (values.length !== wanted) {
    const names = `${expectsAbsent ? "" : "expected value"}${wanted === 2 ? " and " : ""}${deletes ? "" : "new value"}`;
    throw new UsageError(`cas takes a key and, as it stands here, the ${names}: see help cas.`);
  }
  const expected = expectsAbsent ? undefined : values[0];
  const value = deletes ? undefined : values.at(-1);
  return async ({ client }) => {
    const swapped = await client.compareAndSet(key!, expected, value);
    return textReply(swapped, swapped ? "OK" : "(the key holds something else)", { swapped });
  };
}

function planManyPuts(args: readonly Uint8Array[], options: Options): Action {
  if (args.length % 2 !== 0)
    throw new UsageError("mput takes keys and values by turns: the last key has no value.");
  const entries: [Uint8Array, Uint8Array][] = [];
  for (let i = 0; i < args.length; i += 2) entries.push([args[i]!, args[i + 1]!]);
  return async ({ client }) => {
    await client.batch(entries, { atomic: options.atomic === true });
    return textReply(true, "OK", { written: entries.length });
  };
}

const later = (a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined =>
  a !== undefined && (b === undefined || compareBytes(a, b) > 0) ? a : b;

const earlier = (a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined =>
  a !== undefined && (b === undefined || compareBytes(a, b) < 0) ? a : b;

const bytesOption = (option: Uint8Array | true | undefined): Uint8Array | undefined =>
  option === true ? undefined : option;

const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : fromUtf8(bytes);

function integerOf(bytes: Uint8Array, what: string): bigint {
  const text = fromUtf8(bytes);
  if (!/^[+-]?\d{1,19}$/.test(text)) throw new UsageError(`${what} is "${text}", which is no whole number.`);
  return BigInt(text);
}
