import { expect, test } from "bun:test";
import { bloomHash, bloomMayContain, buildBloom } from "./bloom.ts";

const hashOf = (n: number): number => bloomHash(Buffer.from(`key ${n}`));

test("no key is missed, and about one absent key in a hundred is taken for present", () => {
  for (const count of [0, 1, 100, 20_000]) {
    const filter = buildBloom(
      Uint32Array.from({ length: count }, (_, i) => hashOf(i)),
      count,
      10,
    );
    for (let i = 0; i < count; i++) expect(bloomMayContain(filter, hashOf(i))).toBe(true);
    let wrong = 0;
    for (let i = count; i < count + 20_000; i++) if (bloomMayContain(filter, hashOf(i))) wrong++;
    expect(wrong / 20_000).toBeLessThan(0.02);
  }
});
