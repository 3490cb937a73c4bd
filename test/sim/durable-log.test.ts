import { expect, test } from "bun:test";
import { groupId, logIndex, nodeId, type Term, term } from "../../protocol/ids.ts";
import type { Entry } from "../../protocol/peer-messages.ts";
import { LogStore } from "../../src/shard/log-store.ts";
import { inlineBackground } from "../support/inline-background.ts";
import { MemoryFileSystem } from "../support/memory-fs.ts";
import { DurableLog } from "./durable-log.ts";

const G1 = groupId(1);
const G2 = groupId(2);

const entry = (index: number, inTerm: number): Entry => {
  const data = new Uint8Array(100).fill(index);
  return { index: logIndex(index), term: term(inTerm), kind: "commands", data };
};
const vote = (inTerm: number, node: string) => {
  return { term: term(inTerm), votedFor: nodeId(node), commit: logIndex(0) };
};

function openOn(fs: MemoryFileSystem): LogStore {
  return LogStore.open({ fs, background: inlineBackground(fs) }, "/data/raft-log", {
    segmentBytes: 1024,
    cacheBytes: 1024,
  });
}

function termsOf(log: DurableLog, group = G1): (number | undefined)[] {
  const { compacted, lastIndex } = log.group(group);
  return Array.from({ length: lastIndex - compacted }, (_, at) =>
    log.group(group).termOf(compacted + 1 + at),
  );
}

test("what was synced is there, and what was only written is not", async () => {
  const fs = new MemoryFileSystem();
  const store = openOn(fs);
  const log = new DurableLog(fs);
  store.append(G1, vote(3, "n2"), [entry(1, 1), entry(2, 3)]);
  expect(log.group(G1)).toMatchObject({ term: 0, votedFor: undefined, lastIndex: 0 });
  await store.flush();
  expect(log.group(G1)).toMatchObject({ term: 3, votedFor: "n2", lastIndex: 2, lastTerm: 3 });
  store.append(G1, undefined, [entry(2, 4), entry(3, 4)]);
  const flushed = store.flush();
  fs.onOperation = (operation) => {
    if (operation === "sync") expect(termsOf(log)).toEqual([1, 3]);
  };
  await flushed;
  expect(termsOf(log)).toEqual([1, 4, 4]);
  expect(log.group(G2).lastIndex).toBe(0);
});

test("a log of many segments is read as it grows, and as a whole, with what was compacted", async () => {
  const fs = new MemoryFileSystem();
  const store = openOn(fs);
  const grows = new DurableLog(fs);
  for (let index = 1; index <= 40; index++) {
    store.append(G1, vote(index, "n1"), [entry(index, index)]);
    store.append(G2, undefined, [entry(index, 1)]);
    if (index % 10 === 0) store.compact(G1, logIndex(index - 5));
    if (index === 25) store.restart(G2, logIndex(30), 2 as Term);
    await store.flush();
    if (index === 25) break;
    expect(grows.group(G1).lastIndex).toBe(index);
  }
  for (const log of [grows, new DurableLog(fs), new DurableLog(fs.crash(neverKeeps))]) {
    expect(log.group(G1)).toMatchObject({ compacted: 15, term: 25 });
    expect(termsOf(log)).toEqual([16, 17, 18, 19, 20, 21, 22, 23, 24, 25]);
    expect(log.group(G2)).toMatchObject({ compacted: 30, lastIndex: 30, lastTerm: 2 });
  }
});

/** A coin that lets a power loss take all that it can. */
const neverKeeps = { below: () => 0, float: () => 0 };
