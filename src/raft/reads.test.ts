import { expect, test } from "bun:test";
import { logIndex } from "../../protocol/ids.ts";
import { ReadRounds } from "./reads.ts";

const at = logIndex;

test("reads between two Outputs share a round, and later ones get the next", () => {
  const reads = new ReadRounds();
  expect(reads.join()).toBe(1);
  expect(reads.join()).toBe(1);
  expect(reads.close(at(5))).toBe(true);
  expect(reads.close(at(5))).toBe(false);
  expect(reads.join()).toBe(2);
});

test("an open round is not granted, whatever was confirmed", () => {
  const reads = new ReadRounds();
  reads.join();
  reads.grant(1, at(1));
  expect(reads.takeGranted()).toEqual([]);
  expect(reads.newestWaiting).toBe(0);
});

test("a confirmation grants its round and all before it, at the index of each", () => {
  const reads = new ReadRounds();
  for (const index of [3, 5, 9]) {
    reads.join();
    reads.close(at(index));
  }
  expect(reads.newestWaiting).toBe(3);
  reads.grant(2, at(4));
  expect(reads.takeGranted()).toEqual([
    { round: 1, index: at(4) },
    { round: 2, index: at(5) },
  ]);
  expect(reads.takeGranted()).toEqual([]);
  expect(reads.newestWaiting).toBe(3);
  expect(reads.hasOutput).toBe(false);
});

test("losing leadership gives up what waits, open or closed, and the numbers go on", () => {
  const reads = new ReadRounds();
  reads.join();
  reads.close(at(1));
  reads.join();
  reads.lose();
  expect(reads.hasOutput).toBe(true);
  expect(reads.takeLostUpTo()).toBe(2);
  expect(reads.hasOutput).toBe(false);
  expect(reads.join()).toBe(3);
  expect(reads.newestWaiting).toBe(0);
});

test("losing leadership with nothing waiting is no news", () => {
  const reads = new ReadRounds();
  reads.lose();
  expect(reads.hasOutput).toBe(false);
});
