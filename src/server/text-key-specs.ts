/**
 * What COMMAND tells of a command's keys: where they are, and what is done to them. Cluster clients route by it, and
 * split commands whose hints say so. The flags are Redis 7's; commands that Redis does not have get those that fit.
 */
import type { RespWriter } from "../../protocol/resp.ts";
import type { TextCommand } from "./text-command.ts";

const READ = "RO access";
const CHANGE = "RW access update";
const REMOVE = "RM delete";

/** By command: flags of its keys; of its first and its second key, where these differ. */
const KEY_FLAGS: Readonly<Record<string, string | readonly [string, string]>> = {
  append: "RW insert",
  cad: "RW access delete",
  cas: CHANGE,
  copy: [READ, "OW update"],
  decr: CHANGE,
  decrby: CHANGE,
  del: REMOVE,
  delete: REMOVE,
  exists: "RO",
  getdel: "RW access delete",
  getex: CHANGE,
  getset: CHANGE,
  incr: CHANGE,
  incrby: CHANGE,
  incrbyfloat: CHANGE,
  mset: "OW update",
  msetnx: "OW insert",
  psetex: "OW update",
  put: "RW access update variable_flags",
  rename: ["RW access delete", "OW update"],
  renamenx: ["RW access delete", "OW insert"],
  set: "RW access update variable_flags",
  setex: "OW update",
  setnx: "OW insert",
  strlen: "RO",
  touch: "RO",
  type: "RO",
  unlink: REMOVE,
};

/** How a client may ask several nodes for one command, and put their answers together; and what else Redis 7 tells of some. */
const HINTS: Readonly<Record<string, readonly string[]>> = {
  del: ["request_policy:multi_shard", "response_policy:agg_sum"],
  delete: ["request_policy:multi_shard", "response_policy:agg_sum"],
  exists: ["request_policy:multi_shard", "response_policy:agg_sum"],
  mget: ["request_policy:multi_shard"],
  mset: ["request_policy:multi_shard", "response_policy:all_succeeded"],
  msetnx: ["request_policy:multi_shard", "response_policy:agg_min"],
  pttl: ["nondeterministic_output"],
  touch: ["request_policy:multi_shard", "response_policy:agg_sum"],
  ttl: ["nondeterministic_output"],
  unlink: ["request_policy:multi_shard", "response_policy:agg_sum"],
};

export function writeHints(writer: RespWriter, { name }: TextCommand): void {
  const hints = HINTS[name] ?? [];
  writer.setHeader(hints.length);
  for (const hint of hints) writer.text(hint);
}

export function writeKeySpecs(writer: RespWriter, command: TextCommand): void {
  if (command.firstKey === 0) {
    writer.setHeader(0);
    return;
  }
  const flags = KEY_FLAGS[command.name] ?? (command.flags.includes("write") ? "RW update" : READ);
  const { firstKey, lastKey, keyStep } = command;
  if (typeof flags !== "string") {
    writer.setHeader(2);
    writeKeySpec(writer, flags[0], firstKey, 0, 1);
    writeKeySpec(writer, flags[1], lastKey, 0, 1);
  } else {
    writer.setHeader(1);
    // From the first key on; from the last argument, where it is negative.
    writeKeySpec(writer, flags, firstKey, lastKey < 0 ? lastKey : lastKey - firstKey, keyStep);
  }
}

function writeKeySpec(
  writer: RespWriter,
  flags: string,
  index: number,
  lastKey: number,
  keyStep: number,
): void {
  const words = flags.split(" ");
  writer.mapHeader(3);
  writer.text("flags");
  writer.setHeader(words.length);
  for (const word of words) writer.simple(word);
  writer.text("begin_search");
  writer.mapHeader(2);
  writer.text("type");
  writer.text("index");
  writer.text("spec");
  writer.mapHeader(1);
  writeNumber(writer, "index", index);
  writer.text("find_keys");
  writer.mapHeader(2);
  writer.text("type");
  writer.text("range");
  writer.text("spec");
  writer.mapHeader(3);
  writeNumber(writer, "lastkey", lastKey);
  writeNumber(writer, "keystep", keyStep);
  writeNumber(writer, "limit", 0);
}

function writeNumber(writer: RespWriter, name: string, value: number): void {
  writer.text(name);
  writer.integer(value);
}
