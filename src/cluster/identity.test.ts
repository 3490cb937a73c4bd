import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { memberAt, type NodeConfig } from "../config.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { readIdentity, writeIdentity } from "./identity.ts";

const DIRECTORY = "data/n1";
const config = (changes: Partial<NodeConfig> = {}): NodeConfig => ({
  id: nodeId("n1"),
  host: "127.0.0.1",
  port: 7001,
  dataDirectory: DIRECTORY,
  members: ["n1", "n2"].map((id, place) => memberAt(nodeId(id), "127.0.0.1", 7001 + place)),
  shards: 8,
  logLevel: "info",
  ...changes,
});

function directory() {
  const fs = new MemoryFileSystem();
  fs.makeDirectory(DIRECTORY);
  return { fs, random: seededRandom(1) };
}

test("a new directory gets an identity, and is known by it from then on", () => {
  const env = directory();
  const made = readIdentity(env, config());
  expect(made.isNew).toBe(true);
  expect(made.identity).toMatchObject({
    founders: [
      { id: "n1", address: "127.0.0.1:7001" },
      { id: "n2", address: "127.0.0.1:7002" },
    ],
    settings: { shards: 8, replicas: 3, virtualNodes: 150 },
  });
  writeIdentity(env.fs, DIRECTORY, made.identity);
  expect(readIdentity(env, config())).toEqual({ identity: made.identity, isNew: false });
  // It need not be told again.
  const untold = config({ members: [], shards: undefined });
  expect(readIdentity(env, untold)).toEqual({ identity: made.identity, isNew: false });
});

test("a node is alone, or it joins and remembers where to ask", () => {
  const env = directory();
  const alone = readIdentity(env, config({ members: [], address: "db1:7001" })).identity;
  expect(alone.founders).toEqual([{ id: nodeId("n1"), address: "db1:7001" }]);
  const joins = config({ members: [], seeds: ["db2:7001"] });
  const { identity } = readIdentity(env, joins);
  expect(identity).toMatchObject({ founders: [], seeds: ["db2:7001"] });
  writeIdentity(env.fs, DIRECTORY, identity);
  expect(readIdentity(env, config({ members: [] })).identity.seeds).toEqual(["db2:7001"]);
  expect(readIdentity(env, { ...joins, seeds: ["db3:1"] }).identity.seeds).toEqual(["db3:1"]);
});

test("settings that no cluster can be founded with are refused before anything is written", () => {
  for (const [wrong, why] of [
    [{ shards: 12 }, "12 shards: a power of two up to 1024 is possible"],
    [{ replicas: 17 }, "17 replicas: 1 to 16 are possible"],
    [{ virtualNodes: 0 }, "0 virtual nodes"],
  ] as const) {
    expect(() => readIdentity(directory(), config(wrong))).toThrow(why);
  }
});

test("a directory of somebody else is refused with what would be right", () => {
  const env = directory();
  const { identity } = readIdentity(env, config());
  writeIdentity(env.fs, DIRECTORY, identity);
  const refusal = (changes: Partial<NodeConfig>) => () => readIdentity(env, config(changes));
  expect(refusal({ id: nodeId("n2") })).toThrow(
    "belongs to node n1, not to n2; nothing was changed (say --id n1,",
  );
  expect(refusal({ shards: 4 })).toThrow("can't be changed to 4; nothing was changed (say --shards 8,");
  expect(refusal({ replicas: 5 })).toThrow("a cluster with --replicas 3, which can't be changed to 5");
  expect(refusal({ members: config().members.slice(0, 1) })).toThrow(
    "belongs to a cluster of n1, n2, not of n1; nothing was changed (--peers names the founders",
  );
  // What the cluster was founded with counts, once that is known.
  const settings = { shards: 16, replicas: 3, virtualNodes: 150 };
  writeIdentity(env.fs, DIRECTORY, { ...identity, facts: { ...identity.facts, clusterId: "aa", settings } });
  expect(refusal({ shards: 8 })).toThrow("a cluster with --shards 16, which can't be changed to 8");
});

test.each([
  ["garbage", "cannot read data/n1/identity.json: JSON Parse error"],
  ["", "cannot read data/n1/identity.json: JSON Parse error"],
  ["null", "it is not as a node writes it; nothing was changed"],
  ["{}", "it is not as a node writes it"],
  ['{"format":2,"node":"n1"}', "it is not as a node writes it"],
  ['{"format":3,"node":"n1"}', "it has format 3, and this program knows 2 only; nothing was changed"],
])("an identity that reads %p is refused", (text, sentence) => {
  const env = directory();
  env.fs.writeFile(`${DIRECTORY}/identity.json`, utf8(text));
  expect(() => readIdentity(env, config())).toThrow(sentence);
});

test("any changed bit is noticed, or changes nothing that is said", () => {
  const env = directory();
  const { identity } = readIdentity(env, config());
  writeIdentity(env.fs, DIRECTORY, identity);
  const path = `${DIRECTORY}/identity.json`;
  const whole = env.fs.readFile(path);
  for (let bit = 0; bit < 8 * whole.length; bit++) {
    const bytes = whole.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    env.fs.writeFile(path, bytes);
    let found: unknown;
    try {
      found = readIdentity(env, config()).identity;
    } catch (error) {
      expect((error as Error).message).toStartWith(`cannot read ${path}: `);
      continue;
    }
    expect(found).toEqual(identity);
  }
});
