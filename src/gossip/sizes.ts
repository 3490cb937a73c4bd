/** What facts take in a message (`protocol/gossip.ts`), to the byte: a message is filled before it is encoded. */
import type { LeaderHint, LoadFact, MemberFact } from "../../protocol/gossip-messages.ts";

/** What CBOR takes for a number, or for the length of a string before its bytes. */
function uintBytes(value: number): number {
  if (value < 24) return 1;
  if (value < 0x100) return 2;
  if (value < 0x1_0000) return 3;
  return value < 0x1_0000_0000 ? 5 : 9;
}

/** Ids and versions are ASCII. */
const textBytes = (text: string): number => uintBytes(text.length) + text.length;

export function memberBytes({ node, incarnation, suspectedBy }: MemberFact): number {
  let bytes = textBytes(node) + 1 + uintBytes(incarnation) + uintBytes(suspectedBy.length);
  for (const suspector of suspectedBy) bytes += textBytes(suspector);
  return bytes;
}

export function loadBytes({ node, incarnation, version, load }: LoadFact): number {
  const { shards, leaders, dataBytes, requestsPerSecond, startedAtMs } = load;
  let bytes = textBytes(node) + 1 + textBytes(load.version);
  for (const number of [incarnation, version, shards, leaders]) bytes += uintBytes(number);
  for (const number of [dataBytes, requestsPerSecond, startedAtMs]) bytes += uintBytes(number);
  return bytes;
}

export function hintBytes({ shard, term, leader }: LeaderHint): number {
  return uintBytes(shard) + uintBytes(term) + textBytes(leader);
}
