import { expect, test } from "bun:test";
import { parseOptions } from "./options.ts";
import { createProgress } from "./progress.ts";
import { Recorder } from "./recorder.ts";
import { jsonLine, progressLine, textReport } from "./report.ts";

const OPTIONS = parseOptions(["--addr", "h:1", "--workload", "b", "--clients", "8", "--seconds", "2"]);

/** A thousand operations of 1 to 1000 µs, and two errors of one name, in two seconds. */
function measured(): Recorder {
  const recorder = new Recorder();
  recorder.succeeded(0, true, 50);
  recorder.failed("TIMEOUT", "in the warm-up", 60);
  recorder.begin(100);
  for (let us = 1; us <= 1000; us++) recorder.succeeded(200, us !== 500, 200 + us / 1000);
  recorder.failed("UNAVAILABLE", "no majority", 300);
  recorder.failed("UNAVAILABLE", "no majority at all", 300);
  recorder.end(2100);
  return recorder;
}

test("the JSON line has exactly the fields that were promised", () => {
  const line = JSON.parse(jsonLine(OPTIONS, measured().summary(), 3));
  expect(Object.keys(line)).toEqual([
    "workload",
    "protocol",
    "clients",
    "ops_s",
    "p50_ms",
    "p99_ms",
    "p999_ms",
    "errors",
    "redirects",
  ]);
  expect(line).toMatchObject({ workload: "b", protocol: "binary", clients: 8, ops_s: 500, errors: 2 });
  expect(line.p50_ms).toBeCloseTo(0.5, 2);
  expect(line.p99_ms).toBeCloseTo(0.99, 2);
  expect(line.p999_ms).toBeCloseTo(0.999, 2);
});

test("what comes after the end counts with its latency, not in the rate", () => {
  const recorder = measured();
  recorder.succeeded(2000, true, 2600);
  const summary = recorder.summary();
  expect(summary.opsPerSecond).toBe(500);
  expect(summary.max).toBeGreaterThan(599);
});

test("an interval has what came since the last look, and the whole has all", () => {
  const recorder = measured();
  expect(recorder.look(1100)).toMatchObject({ opsPerSecond: 1000, errors: 2 });
  recorder.succeeded(1200, true, 1210);
  const second = recorder.look(1600);
  expect(second).toMatchObject({ opsPerSecond: 2, errors: 0 });
  expect(second.p50).toBeCloseTo(10, 1);
  expect(recorder.summary().succeeded).toBe(1001);
});

test("the report for people counts errors by name and shows the first of each", () => {
  const text = textReport(OPTIONS, measured().summary(), 3);
  expect(text).toContain("500 ops/s, 1,000 operations in 2 s");
  expect(text).toContain("1 reads found nothing");
  expect(text).toContain("3 requests (0.299%) were redirected");
  expect(text).toContain("UNAVAILABLE: 2, the first: no majority");
  expect(text).not.toContain("TIMEOUT");
});

test("progress is rewritten in place on a terminal, and written line by line elsewhere", () => {
  const line = progressLine(3, measured().look(1100));
  expect(line).toContain("3 s");
  expect(line).toContain("1,000 ops/s");
  expect(line).toContain("2 errors");
  const written = (isTTY: boolean): string => {
    let text = "";
    const progress = createProgress({ isTTY, write: (part: string) => (text += part) });
    progress.show("one");
    progress.show("two");
    progress.finish();
    return text;
  };
  expect(written(false)).toBe("one\ntwo\n");
  expect(written(true)).toBe("\rone\u001b[K\rtwo\u001b[K\n");
});
