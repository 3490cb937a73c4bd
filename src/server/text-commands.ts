/** The table of all commands, and finding one by what a client sent. */

import { assert } from "../lib/assert.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import { CLUSTER_COMMANDS } from "./text-cluster-command.ts";
import type { Arguments, TextCommand } from "./text-command.ts";
import { commandCommand } from "./text-command-command.ts";
import { CONNECTION_COMMANDS } from "./text-connection-commands.ts";
import { EXPIRY_COMMANDS } from "./text-expiry-commands.ts";
import { KEY_COMMANDS } from "./text-key-commands.ts";
import { SERVER_COMMANDS } from "./text-server-commands.ts";
import { STRING_COMMANDS } from "./text-string-commands.ts";

const COMMANDS: readonly TextCommand[] = [
  ...STRING_COMMANDS,
  ...KEY_COMMANDS,
  ...EXPIRY_COMMANDS,
  ...CONNECTION_COMMANDS,
  ...SERVER_COMMANDS,
  ...CLUSTER_COMMANDS,
  commandCommand(() => COMMANDS),
];

interface Row {
  readonly command: TextCommand;
  /** The name's bytes, in lower case. */
  readonly name: Uint8Array;
}

/** By hash of the name: no string is made of what a client sent. No two names share a hash, as is asserted below. */
const BY_HASH = new Map<number, Row>();
for (const command of COMMANDS) {
  const name = Buffer.from(command.name);
  const hash = hashOf(name);
  assert(!BY_HASH.has(hash), `the command ${command.name} has the hash of another one`);
  BY_HASH.set(hash, { command, name });
}
const NAME_BYTES_MAX = Math.max(...COMMANDS.map(({ name }) => name.length));

/** The command of a name in upper or lower case. */
export function findCommand(name: Uint8Array): TextCommand | undefined {
  if (name.length > NAME_BYTES_MAX) return undefined;
  const row = BY_HASH.get(hashOf(name));
  return row !== undefined && sameWord(row.name, name) ? row.command : undefined;
}

/** The error for a command that there is not. Its blank at the end is Redis' own. */
export function unknownCommand(args: Arguments): string {
  const name = fromUtf8(cut(args[0]!, 128));
  let shown = "";
  for (let i = 1; i < args.length && shown.length < 128; i++) {
    shown += `'${fromUtf8(cut(args[i]!, 128 - shown.length))}' `;
  }
  return `ERR unknown command '${name}', with args beginning with: ${shown}`;
}

const POST = Buffer.from("post");
const HOST = Buffer.from("host:");

/** Whether a command is a line of HTTP, perhaps sent by a web page that was told to: nothing of it must be obeyed. */
export function isHttp(name: Uint8Array): boolean {
  return sameWord(POST, name) || sameWord(HOST, name);
}

function hashOf(name: Uint8Array): number {
  let hash = name.length;
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + (name[i]! | 0x20)) | 0;
  return hash;
}

/** `lower` is in lower case. */
function sameWord(lower: Uint8Array, word: Uint8Array): boolean {
  if (lower.length !== word.length) return false;
  for (let i = 0; i < lower.length; i++) {
    const byte = word[i]!;
    if ((byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte) !== lower[i]) return false;
  }
  return true;
}

/** At most `length` bytes, up to the first zero: Redis prints them as a C string. */
function cut(bytes: Uint8Array, length: number): Uint8Array {
  const zero = bytes.indexOf(0);
  return bytes.subarray(0, Math.min(length, zero < 0 ? bytes.length : zero));
}
