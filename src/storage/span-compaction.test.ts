import { expect, test } from "bun:test";
import { limits, shown, table, view } from "../../test/support/compaction-levels.ts";
import { utf8 } from "../lib/bytes.ts";
import type { CompactionPlan } from "./compaction-plan.ts";
import type { KeySpan } from "./engine.ts";
import { rangeOf } from "./key-range.ts";
import type { TableMeta } from "./manifest.ts";
import { compactSpan, nextSpanStep } from "./span-compaction.ts";

const LIMITS = limits({ level1Bytes: 1e6 });
let outputs = 1000;

/** What a plan leaves: a merge gives one table without garbage. */
function apply(
  tables: readonly TableMeta[],
  { kind, inputs, outputLevel, deeper }: CompactionPlan,
): TableMeta[] {
  const rest = tables.filter((one) => !inputs.includes(one));
  if (kind === "drop") return rest;
  if (kind === "move") return [...rest, ...inputs.map((one) => ({ ...one, level: outputLevel }))];
  const range = rangeOf(inputs);
  const merged = { ...inputs[0]!, ...range, level: outputLevel, number: outputs++, bytes: 50 };
  return [
    ...rest,
    deeper.length > 0
      ? merged
      : { ...merged, tombstones: 0, rangeTombstones: 0, expiring: 0, overwritten: 0 },
  ];
}

function run(span: KeySpan, tables: readonly TableMeta[], newTables = 900): string[] {
  const done: string[] = [];
  let progress = compactSpan(span, newTables);
  for (let now = tables; ; ) {
    const step = nextSpanStep(view(now), LIMITS, progress);
    if (step === undefined) return done;
    done.push(shown(step.plan));
    now = apply(now, step.plan!);
    progress = step.progress;
    expect(done.length).toBeLessThan(50);
  }
}

test("everything goes level by level into the deepest one", () => {
  const tables = [
    table(0, "a-c"),
    table(0, "b-d"),
    table(0, "x-z"),
    table(4, "c-e"),
    table(4, "g-h"),
    table(5, "a-b"),
    table(5, "g-k"),
  ];
  expect(run({}, tables)).toEqual([
    "merge 0>4 manual: 0ac 0bd 4ce",
    "move 0>4 manual: 0xz",
    "merge 4>5 manual: 4ae 5ab",
    "merge 4>5 manual: 4gh 5gk",
    "move 4>5 manual: 4xz",
  ]);
});

test("what is not in the span stays, and tables of the last level without garbage, too", () => {
  const tables = [
    table(4, "a-b"),
    table(4, "c-e"),
    table(4, "f-g"),
    table(5, "a-a", 50, { tombstones: 1 }),
    table(5, "d-d"),
    table(5, "e-f", 50, { tombstones: 1 }),
  ];
  // The second one of level 4 drags nothing more along.
  const middle = "merge 4>5 manual: 4ce 4fg 5dd 5ef";
  expect(run({ gte: utf8("c"), lt: utf8("f") }, tables)).toEqual([middle]);
  expect(run({ gte: utf8("e") }, tables)).toEqual([middle]);
  expect(run({ lt: utf8("b") }, tables)).toEqual(["merge 4>5 manual: 4ab 5aa"]);
  expect(run({ lt: utf8("a") }, tables)).toEqual([]);
  // Nothing of level 5 is in it.
  expect(run({ gte: utf8("b"), lt: utf8("c") }, tables)).toEqual([]);
});

test("garbage of the last level is written out of its tables, once", () => {
  const tables = [
    table(6, "a-b", 50, { tombstones: 1 }),
    table(6, "c-d"),
    table(6, "e-f", 50, { rangeTombstones: 1 }),
    table(6, "g-h", 50, { expiring: 3, latestExpiry: 7 }),
    table(6, "i-j", 50, { overwritten: 1 }),
  ];
  expect(run({}, tables)).toEqual([
    "merge 6>6 manual: 6ab",
    "merge 6>6 manual: 6ef",
    "merge 6>6 manual: 6gh",
    "merge 6>6 manual: 6ij",
  ]);
});

test("a table that begins where the one before ends without including it has its turn, too", () => {
  const garbage = { tombstones: 1, rangeTombstones: 1 };
  const bottom = [table(6, "a-c)", 50, garbage), table(6, "c-e)", 50, garbage), table(6, "e-g", 50, garbage)];
  expect(run({}, bottom)).toEqual([
    "merge 6>6 manual: 6ac)",
    "merge 6>6 manual: 6ce)",
    "merge 6>6 manual: 6eg",
  ]);
  const upper = [table(5, "a-c)"), table(5, "c-e"), table(6, "x-z")];
  expect(run({}, upper)).toEqual(["move 5>6 manual: 5ac)", "move 5>6 manual: 5ce"]);
});

test("tables of level 0 that came later are left, unless they hang together with older ones", () => {
  const older = table(0, "a-c");
  const later = { ...table(0, "x-z"), number: 950 };
  expect(run({}, [older, later])).toEqual(["move 0>6 manual: 0ac"]);
});

test("what runs already is waited for", () => {
  const tables = [table(5, "a-c"), table(6, "b-d")];
  const first = nextSpanStep(view(tables), LIMITS, compactSpan({}, 900))!;
  const meanwhile = nextSpanStep(view(tables, { running: [first.plan!] }), LIMITS, compactSpan({}, 900))!;
  expect(meanwhile.plan).toBeUndefined();
});
