import { expect, test } from "bun:test";
import type { Figure } from "./lines.ts";
import { median, medianFigure, ratio } from "./report.ts";
import { figureOf } from "./rocksdb.ts";

const figure = (engine: Figure["engine"], us_op: number): Figure => ({
  engine,
  op: "fillseq",
  num: 10,
  us_op,
  ops_s: 1e6 / us_op,
});

test("the median of an even number of values lies between the two in the middle", () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([9, 1, 5, 7])).toBe(6);
});

test("rounds become the median of each figure, and the rate is the median time's", () => {
  expect(medianFigure([figure("flotilla", 4), figure("flotilla", 1), figure("flotilla", 2)])).toEqual(
    figure("flotilla", 2),
  );
  expect(medianFigure([figure("flotilla", 1), figure("flotilla", 3)])).toEqual(figure("flotilla", 2));
});

test("a ratio is of figures of the same round", () => {
  const rounds = new Map([
    [
      "fillseq" as const,
      new Map([
        ["flotilla" as const, [figure("flotilla", 1), figure("flotilla", 10), figure("flotilla", 3)]],
        [
          "classic-level" as const,
          [figure("classic-level", 2), figure("classic-level", 20), figure("classic-level", 3)],
        ],
      ]),
    ],
  ]);
  expect(ratio(rounds, "fillseq", "classic-level")).toBeCloseTo(2);
  expect(ratio(rounds, "fillseq", "rocksdb")).toBeUndefined();
});

test("db_bench's figures are of the time that passed, however many threads there were", () => {
  const output = [
    "DB path: [/tmp/db]",
    "fillrandom   :    1318.400 micros/op 48000 ops/sec 1.333 seconds 64000 operations;    5.3 MB/s",
    "readmissing  :       1.955 micros/op 511315 ops/sec 0.391 seconds 200000 operations; (0 of 200000 found)",
  ].join("\n");
  expect(figureOf(output, "fillrandom", "fillsync-64", 7)).toEqual({
    engine: "rocksdb",
    op: "fillsync-64",
    num: 7,
    us_op: 20.833,
    ops_s: 48_000,
    count: 64_000,
  });
  expect(figureOf(output, "readmissing", "readmissing", 7).us_op).toBe(1.956);
  expect(() => figureOf(output, "readseq", "readseq", 7)).toThrow("told nothing about readseq");
});
