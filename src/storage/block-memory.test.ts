import { expect, test } from "bun:test";
import { BlockMemory } from "./block-memory.ts";

test("what is given back is taken again, up to the bound", () => {
  const memory = new BlockMemory(2048);
  const one = memory.take(700);
  expect(one.length).toBe(1024);
  memory.give(one);
  expect(memory.bytes).toBe(1024);
  // Another length in the same step.
  expect(memory.take(1024)).toBe(one);
  expect(memory.take(1024)).not.toBe(one);
  memory.give(one);
  memory.give(memory.take(1500));
  expect(memory.bytes).toBe(1024);
  // Not of its making, or too long to be kept.
  memory.give(new Uint8Array(700));
  memory.give(new Uint8Array(1 << 20));
  expect(memory.bytes).toBe(1024);
});
