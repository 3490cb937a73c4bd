/** What the payload of a log record consists of: items, back to back (`docs/formats/raft-log.md`). */
import type { ByteWriter } from "../../protocol/cbor.ts";
import {
  type GroupId,
  groupId,
  type LogIndex,
  logIndex,
  nodeId,
  type Term,
  term,
} from "../../protocol/ids.ts";
import type { Entry } from "../../protocol/peer-messages.ts";
import { assert } from "../lib/assert.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import type { HardState, LogFloor } from "../raft/types.ts";
import { readU64, writeU64 } from "./log-segment.ts";

const ITEM = { entries: 1, hardState: 2, compacted: 3, dropped: 4, restarted: 5 } as const;
const ENTRY_KINDS = ["noop", "commands", "config"] as const;
const ENTRY_HEADER_BYTES = 17;

/** Begins an item of `count` entries; that many `writeEntry` follow. */
export function beginEntries(writer: ByteWriter, group: GroupId, first: LogIndex, count: number): void {
  writer.u8(ITEM.entries);
  writer.u16(group);
  writeU64(writer, first);
  writer.u32(count);
}

/** Writes an entry of the item begun. Returns where in the writer its data lies. */
export function writeEntry(writer: ByteWriter, entry: Entry, checksum: number): number {
  writeU64(writer, entry.term);
  writer.u8(ENTRY_KINDS.indexOf(entry.kind));
  writer.u32(entry.data.length);
  writer.u32(checksum);
  const at = writer.length;
  writer.append(entry.data);
  return at;
}

export function writeHardState(writer: ByteWriter, group: GroupId, state: HardState): void {
  writer.u8(ITEM.hardState);
  writer.u16(group);
  writeU64(writer, state.term);
  writeU64(writer, state.commit);
  const name = utf8(state.votedFor ?? "");
  writer.u8(name.length);
  writer.append(name);
}

/** The group's log begins behind `index`, whose entry had `compactedTerm`. */
export function writeCompacted(
  writer: ByteWriter,
  group: GroupId,
  index: LogIndex,
  compactedTerm: Term,
): void {
  writePlace(writer, ITEM.compacted, group, index, compactedTerm);
}

/** Nothing of the group's log that came before this counts: the next entry is the one behind `index`, which had `lastTerm`. */
export function writeRestarted(writer: ByteWriter, group: GroupId, index: LogIndex, lastTerm: Term): void {
  writePlace(writer, ITEM.restarted, group, index, lastTerm);
}

/**
 * The group's replica is gone from this node; `floor` is the highest place that any log of it had here. Unless `cleared`, its
 * entries end here, and its data may still be in the engine.
 */
export function writeDropped(writer: ByteWriter, group: GroupId, floor: LogFloor, cleared: boolean): void {
  writePlace(writer, ITEM.dropped, group, floor.index, floor.term);
  writer.u8(cleared ? 1 : 0);
}

/** How an item begins that is about a place in the group's log. */
function writePlace(writer: ByteWriter, item: number, group: GroupId, index: LogIndex, of: Term): void {
  writer.u8(item);
  writer.u16(group);
  writeU64(writer, index);
  writeU64(writer, of);
}

/** Takes the items of a record, in order. */
export interface ItemVisitor {
  entry(group: GroupId, index: LogIndex, entry: StoredEntry): void;
  hardState(group: GroupId, state: HardState): void;
  compacted(group: GroupId, index: LogIndex, compactedTerm: Term): void;
  dropped(group: GroupId, floor: LogFloor, cleared: boolean): void;
  restarted(group: GroupId, index: LogIndex, lastTerm: Term): void;
}

/** An entry without its data, which lies at `offset` of the segment. */
export interface StoredEntry {
  readonly term: Term;
  readonly kind: Entry["kind"];
  readonly length: number;
  readonly checksum: number;
  readonly offset: number;
}

/** Reads the items of a sound record's payload, which lies at `offset` of the segment. */
export function readItems(payload: Uint8Array, offset: number, visitor: ItemVisitor): void {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  let at = 0;
  while (at < payload.length) {
    const item = view.getUint8(at);
    const group = groupId(view.getUint16(at + 1));
    at += 3;
    if (item === ITEM.entries) {
      at = readEntries(view, at, offset, group, visitor);
    } else if (item === ITEM.hardState) {
      const nameLength = view.getUint8(at + 16);
      const name = fromUtf8(payload.subarray(at + 17, at + 17 + nameLength));
      visitor.hardState(group, {
        term: term(readU64(view, at)),
        commit: logIndex(readU64(view, at + 8)),
        votedFor: nameLength === 0 ? undefined : nodeId(name),
      });
      at += 17 + nameLength;
    } else if (item === ITEM.dropped) {
      const floor = { index: logIndex(readU64(view, at)), term: term(readU64(view, at + 8)) };
      visitor.dropped(group, floor, view.getUint8(at + 16) === 1);
      at += 17;
    } else {
      assert(
        item === ITEM.compacted || item === ITEM.restarted,
        `an item of kind ${item} at offset ${offset + at - 3} of a sound log record`,
      );
      const [index, lastTerm] = [logIndex(readU64(view, at)), term(readU64(view, at + 8))];
      if (item === ITEM.compacted) visitor.compacted(group, index, lastTerm);
      else visitor.restarted(group, index, lastTerm);
      at += 16;
    }
  }
}

function readEntries(
  view: DataView,
  start: number,
  offset: number,
  group: GroupId,
  visitor: ItemVisitor,
): number {
  const first = readU64(view, start);
  const count = view.getUint32(start + 8);
  let at = start + 12;
  for (let i = 0; i < count; i++) {
    const length = view.getUint32(at + 9);
    visitor.entry(group, logIndex(first + i), {
      term: term(readU64(view, at)),
      kind: ENTRY_KINDS[view.getUint8(at + 8)]!,
      length,
      checksum: view.getUint32(at + 13),
      offset: offset + at + ENTRY_HEADER_BYTES,
    });
    at += ENTRY_HEADER_BYTES + length;
  }
  return at;
}
