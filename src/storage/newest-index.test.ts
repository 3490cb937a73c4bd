import { expect, test } from "bun:test";
import { seededRandom } from "../lib/prng.ts";
import { NewestIndex } from "./newest-index.ts";

test("the newest node of each key is found, through all growth", () => {
  const random = seededRandom(5);
  const keys = 20_000;
  // Node n + 1 has the key n mod `keys`, of two to nine bytes.
  const arena = new Uint8Array(keys * 9);
  const nodes = new Int32Array(keys * 4 + 2);
  const keyAt = (n: number): [number, number] => [n * 9, n * 9 + 2 + (n % 8)];
  for (let n = 0; n < keys; n++) {
    const [start, end] = keyAt(n);
    new DataView(arena.buffer).setUint16(start, n);
    for (let i = start + 2; i < end; i++) arena[i] = n;
  }
  for (let node = 1; node <= keys * 2; node++) {
    const [start, end] = keyAt((node - 1) % keys);
    nodes[node * 2] = start;
    nodes[node * 2 + 1] = end - start;
  }
  const index = new NewestIndex();
  const newest = new Map<number, number>();
  for (let i = 0; i < keys * 2; i++) {
    const n = random.below(keys);
    const node = 2 * (n + 1 + (random.below(2) === 0 ? 0 : keys));
    const [start, end] = keyAt(n);
    expect(index.find({ nodes, arena }, arena, start, end)).toBe(newest.get(n) ?? 0);
    if (random.below(3) === 0) continue;
    index.putFound(node);
    newest.set(n, node);
  }
  for (let n = 0; n < keys; n++) {
    const [start, end] = keyAt(n);
    expect(index.find({ nodes, arena }, arena.slice(start, end), 0, end - start)).toBe(newest.get(n) ?? 0);
  }
});
