import { expect, test } from "bun:test";
import { xxh32Of } from "../lib/hash.ts";
import { seededRandom } from "../lib/prng.ts";
import { KEY_LENGTH, KEY_OFFSET, MemtableNodes, NODE_INTS } from "./memtable-nodes.ts";
import { NewestIndex } from "./newest-index.ts";

test("the newest node of each key is found, through all growth", () => {
  const random = seededRandom(5);
  const keys = 20_000;
  // Nodes n and n + `keys` have the key n, of two to nine bytes.
  const arena = new Uint8Array(keys * 9);
  const nodes = new Int32Array((keys * 2 + 1) * NODE_INTS);
  const keyAt = (n: number): [number, number] => [n * 9, n * 9 + 2 + (n % 8)];
  for (let n = 0; n < keys; n++) {
    const [start, end] = keyAt(n);
    new DataView(arena.buffer).setUint16(start, n);
    for (let i = start + 2; i < end; i++) arena[i] = n;
    for (const node of [(n + 1) * NODE_INTS, (n + 1 + keys) * NODE_INTS]) {
      nodes[node + KEY_OFFSET] = start;
      nodes[node + KEY_LENGTH] = end - start;
    }
  }
  const source = new MemtableNodes(nodes, arena);
  const index = new NewestIndex();
  const newest = new Map<number, number>();
  for (let i = 0; i < keys * 2; i++) {
    const n = random.below(keys);
    const node = (n + 1 + (random.below(2) === 0 ? 0 : keys)) * NODE_INTS;
    const [start, end] = keyAt(n);
    const hash = xxh32Of(arena, start, end);
    if (i % 1000 === 0) index.reserve(1000);
    const slot = index.slotOf(source, arena, start, end, hash);
    expect(index.nodeIn(slot)).toBe(newest.get(n) ?? 0);
    if (random.below(3) === 0) continue;
    index.set(slot, hash, node);
    newest.set(n, node);
  }
  for (let n = 0; n < keys; n++) {
    const [start, end] = keyAt(n);
    expect(index.find(source, arena.slice(start, end))).toBe(newest.get(n) ?? 0);
  }
  expect(index.byteLength).toBe(newest.size * 16);
  index.clear();
  expect(index.byteLength).toBe(0);
  for (let n = 0; n < keys; n++) expect(index.find(source, arena.slice(...keyAt(n)))).toBe(0);
});
