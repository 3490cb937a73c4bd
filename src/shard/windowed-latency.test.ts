import { expect, test } from "bun:test";
import { WindowedLatency } from "./windowed-latency.ts";

test("figures cover this window and the one before it, however often they are asked for", () => {
  const latency = new WindowedLatency();
  expect(latency.status()).toBeNull();
  latency.record(8);
  expect(latency.status()!.max).toBeCloseTo(8, 1);
  latency.rotate();
  latency.record(2);
  for (let i = 0; i < 3; i++) {
    const { p50, max } = latency.status()!;
    expect(p50).toBeCloseTo(2, 1);
    expect(max).toBeCloseTo(8, 1);
  }
  latency.rotate();
  expect(latency.status()!.max).toBeCloseTo(2, 1);
  latency.rotate();
  expect(latency.status()).toBeNull();
});
