/**
 * What the stories are worth: one bug after the other is planted in a copy of this folder, and a story has to fail. In the
 * code as it is, the same stories with the same seeds come true.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as stories from "./testing/scenarios.ts";

const ROOT = join(import.meta.dir, "../..");
const COPIES = mkdtempSync(join(tmpdir(), "flotilla-gossip-bugs-"));
afterAll(() => rmSync(COPIES, { recursive: true, force: true }));

type Stories = typeof stories;
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

interface Bug {
  readonly name: string;
  readonly file: string;
  /** Occurs exactly once. */
  readonly code: string;
  readonly instead: string;
  readonly story: (told: Stories, seed: number) => unknown;
}

const deaths = (nodes: number) => (told: Stories, seed: number) => told.detectsADeath({ nodes, seed });
const loss = (told: Stories, seed: number) =>
  told.bearsLoss({ nodes: 10, seed, hours: 0.02, lossPercent: 10, latencyMsMax: 20 });
const partitions = (told: Stories, seed: number) => told.healsAPartition({ nodes: 6, seed });
const returns = (how: stories.Return) => (told: Stories, seed: number) =>
  told.comesBack({ nodes: 5, seed, ...how });
const wakings = (told: Stories, seed: number) => told.wakesUp({ nodes: 5, seed, latencyMsMax: 150 });
const badPaths = (told: Stories, seed: number) => told.bearsABadPath({ nodes: 5, seed });
const news = (told: Stories, seed: number) => told.spreads({ nodes: 60, seed });
const turns = (told: Stories, seed: number) => told.takesTurns({ nodes: 12, seed, msMax: 3_000 });

const GOSSIP = "src/gossip/gossip.ts";
const BUGS: readonly Bug[] = [
  {
    name: "a suspect does not contradict",
    file: GOSSIP,
    code: "    if (!isAhead && !isAccused) return;",
    instead: "    return;",
    story: loss,
  },
  {
    name: "a suspect contradicts without a higher incarnation",
    file: GOSSIP,
    code: "    this.#incarnation = incarnation + 1;",
    instead: "    this.#incarnation = incarnation;",
    story: loss,
  },
  {
    name: "a restarted node stays below its old incarnation",
    file: GOSSIP,
    code: "const isAhead = incarnation > this.#incarnation;",
    instead: "const isAhead = false;",
    story: returns({ absence: "dead", loads: false }),
  },
  {
    name: "a restarted node is not told how far it was",
    file: "src/gossip/knowledge.ts",
    code: "    known.forgot = incarnation < known.fact.incarnation;",
    instead: "",
    story: returns({ absence: "short", together: 3 }),
  },
  {
    name: "what an earlier life has told counts for more",
    file: GOSSIP,
    code: "      if (isNewerLoad(fact, own)) this.#riseAbove(fact.incarnation);",
    instead: "",
    story: returns({ absence: "short", again: false }),
  },
  {
    name: "a node is suspected without that others are asked",
    file: GOSSIP,
    code: "else if (agoMs >= probeTimeoutMs && probe.helpers < 0) this.#askHelpers(probe);",
    instead: "",
    story: badPaths,
  },
  {
    name: "helpers do not pass on what they hear",
    file: GOSSIP,
    code: '    if (relay === undefined) return;\n    this.#send({ kind: "ack"',
    instead: '    if (relay === undefined || relay) return;\n    this.#send({ kind: "ack"',
    story: badPaths,
  },
  {
    name: "facts are passed on once",
    file: "src/gossip/options.ts",
    code: "  return Math.ceil(options.transmissions * Math.log2(nodes + 1));",
    instead: "  return 1;",
    story: news,
  },
  {
    name: "what one has told others is told first",
    file: "src/gossip/rumours.ts",
    code: "    offering: for (const keys of this.#waiting) {",
    instead: "    offering: for (const keys of this.#waiting.toReversed()) {",
    story: turns,
  },
  {
    name: "nobody looks whether the dead are back",
    file: GOSSIP,
    code: "    if (node !== undefined) this.#ping(node, this.#probes.nextSequence());",
    instead: "",
    story: partitions,
  },
  {
    name: "who is thought dead does not hear of it",
    file: "src/gossip/knowledge.ts",
    code: 'return known.fact.state !== "alive" || known.forgot ? known.fact : undefined;',
    instead: "return undefined;",
    story: partitions,
  },
  {
    name: "the word of others for a death is taken at once",
    file: GOSSIP,
    code: 'if (fact.state !== "dead" || !this.#isInformed || by === this.#self) return fact;',
    instead: "return fact;",
    story: partitions,
  },
  {
    name: "who was apart does not compare everything",
    file: GOSSIP,
    code: "if (!this.#isInformed || (!wasPresent && this.#knowledge.isPresent(from))) this.#syncWith(from, nowMs);",
    instead: "",
    story: partitions,
  },
  {
    name: "a process that stood still blames others",
    file: GOSSIP,
    code: "    this.#probes.shift(lateMs);",
    instead: "",
    story: wakings,
  },
  {
    name: "what a node suspects is its own affair",
    file: "src/gossip/knowledge.ts",
    code: "    if (order === 0) return this.#join(known, fact.suspectedBy);",
    instead: "    if (order === 0) return false;",
    story: deaths(3),
  },
  {
    name: "a node probes at random instead of in rounds",
    file: "src/gossip/probe-order.ts",
    code: "      const node = this.#round[this.#next++]!;",
    instead: "      const node = this.#round[0]!;",
    story: deaths(5),
  },
];

/** A copy of the code with the bug in it, and the stories of that copy. */
async function planted({ file, code, instead }: Bug, number: number): Promise<Stories> {
  const copy = join(COPIES, String(number));
  for (const part of ["src/gossip", "src/lib", "protocol"]) {
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  }
  const text = readFileSync(join(copy, file), "utf8");
  expect(text.split(code).length - 1).toBe(1);
  writeFileSync(join(copy, file), text.replace(code, instead));
  return (await import(join(copy, "src/gossip/testing/scenarios.ts"))) as Stories;
}

function fails(story: () => unknown): boolean {
  try {
    story();
  } catch {
    return true;
  }
  return false;
}

describe("a story fails if", () => {
  for (const [number, bug] of BUGS.entries()) {
    test(bug.name, async () => {
      for (const seed of SEEDS) bug.story(stories, seed);
      const told = await planted(bug, number);
      expect(SEEDS.some((seed) => fails(() => bug.story(told, seed)))).toBe(true);
    });
  }
});
