import { expect, test } from "bun:test";
import { testSeed } from "../../test/support/seed.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import { KEY_LENGTH, KEY_OFFSET, MemtableNodes, NODE_INTS, SEQUENCE_LOW } from "./memtable-nodes.ts";
import { sortedNodes } from "./node-sort.ts";

const SEED = testSeed("node-sort.test.ts");

/** Nodes of these keys, with ascending sequence numbers. */
function nodesOf(keys: readonly Uint8Array[]): MemtableNodes {
  const nodes = new Int32Array((keys.length + 1) * NODE_INTS);
  const source = new MemtableNodes(nodes, Buffer.concat(keys));
  let offset = 0;
  for (const [i, key] of keys.entries()) {
    const node = (i + 1) * NODE_INTS;
    nodes[node + KEY_OFFSET] = offset;
    nodes[node + KEY_LENGTH] = key.length;
    nodes[node + SEQUENCE_LOW] = i + 1;
    offset += key.length;
  }
  return source;
}

/** Throws unless the keys, from the `skipped`-th on, are sorted as they should be. */
function check(keys: readonly Uint8Array[], skipped = 0): void {
  const expected = keys
    .map((key, i) => ({ key, node: (i + 1) * NODE_INTS }))
    .slice(skipped)
    // Of equal keys the last one to come is first.
    .sort((a, b) => Buffer.compare(a.key, b.key) || b.node - a.node)
    .map(({ node }) => node);
  const sorted = sortedNodes(nodesOf(keys), (skipped + 1) * NODE_INTS, keys.length - skipped);
  expect(Array.from(sorted)).toEqual(expected);
}

/** How keys are drawn: each kind is hard for a sort that looks at a few bytes at a time. */
const KINDS: Readonly<Record<string, (random: Random) => Uint8Array>> = {
  "random bytes": (random) => bytes(random, random.below(24), 256),
  "two letters": (random) => bytes(random, random.below(12), 2),
  "zeros of any length": (random) => new Uint8Array(random.below(40)),
  "zeros, then one byte": (random) => Uint8Array.of(...new Uint8Array(random.below(12)), random.below(3)),
  "a long prefix": (random) => Buffer.from(`tenant/collection/document/${random.below(500)}`),
  "one of three prefixes": (random) =>
    Buffer.from(`${"abc"[random.below(3)]}/${"x".repeat(20)}${random.below(300)}`),
  "a prefix and big-endian numbers": (random) => {
    const key = Buffer.from("index........");
    key.writeBigUInt64BE(BigInt(random.below(1000)), 5);
    return random.below(20) === 0 ? key.subarray(0, 5 + random.below(8)) : key;
  },
  "above 0x7f": (random) => bytes(random, 9, 256).fill(0xff, 0, random.below(9)),
  "few keys": (random) => Buffer.from(`k${random.below(3)}`),
};

function bytes(random: Random, length: number, values: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(values));
}

for (const [name, draw] of Object.entries(KINDS)) {
  test(`sorted: ${name}`, () => {
    const random = seededRandom(SEED);
    for (const count of [0, 1, 2, 12, 13, 64, 65, 1000]) {
      const keys = Array.from({ length: count }, () => draw(random));
      check(keys);
      check(keys, count >> 1);
    }
  });
}

test("sorted: keys each of which is the beginning of the next", () => {
  check(Array.from({ length: 3000 }, (_, i) => new Uint8Array((i * 7919) % 3000)));
});
