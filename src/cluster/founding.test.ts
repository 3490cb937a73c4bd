import { expect, test } from "bun:test";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { Founding, type FoundingState, NOTHING_NOTED } from "./founding.ts";

const [n1, n2, n3] = ["n1", "n2", "n3"].map(nodeId) as [NodeId, NodeId, NodeId];

/** A founder whose disk is `disk`. */
function founder(self: NodeId, disk: { state: FoundingState; isFull?: boolean }, founders = [n1, n2, n3]) {
  return new Founding({
    ...{ self, founders, state: disk.state },
    log: { info: () => {} },
    write: (state) => {
      if (disk.isFull) return false;
      disk.state = state;
      return true;
    },
  });
}

test("a founder takes part once every other one has let it in, and after a restart as well", () => {
  const disk = { state: NOTHING_NOTED };
  const founding = founder(n1, disk);
  expect(founding.mayTakePart).toBe(false);
  expect(founding.missing).toEqual([n2, n3]);
  founding.wasLetInBy(n2);
  founding.wasLetInBy(n2);
  expect(founding.missing).toEqual([n3]);
  // Who let it in is asked again after a restart: only that all did is remembered.
  expect(founder(n1, disk).missing).toEqual([n2, n3]);
  founding.wasLetInBy(n3);
  expect(founding.mayTakePart).toBe(true);
  expect(founding.missing).toEqual([]);
  expect(founder(n1, disk).mayTakePart).toBe(true);
});

test("who founds a cluster alone, or joins one, need not be met", () => {
  expect(founder(n1, { state: NOTHING_NOTED }, [n1]).mayTakePart).toBe(true);
  expect(founder(n1, { state: NOTHING_NOTED }, []).mayTakePart).toBe(true);
});

test("an incarnation is noted once, durably, and not taken back", () => {
  const disk = { state: NOTHING_NOTED };
  const founding = founder(n1, disk);
  expect(founding.note(n2, "two")).toBe(true);
  expect(founding.note(n2, "another")).toBe(true);
  expect(founding.note(nodeId("n9"), "no founder")).toBe(true);
  expect(founding.noted).toEqual({ n2: "two" });
  expect(founder(n1, disk).noted).toEqual({ n2: "two" });
});

test("what could not be written was not noted", () => {
  const disk = { state: NOTHING_NOTED, isFull: true };
  const founding = founder(n1, disk);
  expect(founding.note(n2, "two")).toBe(false);
  expect(founding.noted).toEqual({});
  founding.wasLetInBy(n2);
  founding.wasLetInBy(n3);
  expect(founding.mayTakePart).toBe(false);
  disk.isFull = false;
  founding.wasLetInBy(n3);
  expect(founding.mayTakePart).toBe(true);
});
