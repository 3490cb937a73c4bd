import { expect, test } from "bun:test";
import { CONFIGURATION_NODES_MAX } from "../../protocol/configuration.ts";
import { logIndex, nodeId } from "../../protocol/ids.ts";
import { Slab } from "../lib/slab.ts";
import { CommandBatch, CommandBatchReader } from "./command-batch.ts";
import {
  encodeSystemCommand,
  type SystemCommand,
  type SystemFacts,
  SystemMachine,
} from "./system-machine.ts";

function setUp() {
  const changes: SystemFacts[] = [];
  const machine = new SystemMachine((facts) => void changes.push(facts));
  const apply = (command: SystemCommand | undefined) => {
    const batch = new CommandBatch(new Slab(1024));
    if (command !== undefined) batch.addRaw(encodeSystemCommand(command));
    const reader = new CommandBatchReader();
    reader.open(batch.take(1, logIndex(0)));
    machine.apply(reader, undefined);
  };
  return { machine, changes, apply };
}

const NODES = { n1: { address: "n1:7001", role: "voter" } } as const;
const member = (node: string, address: string, role: "voter" | "learner" | "removed") =>
  ({ kind: "member", node: nodeId(node), fact: { address, role } }) as const;

const bind = (node: string, incarnation: string) =>
  ({ kind: "bind", node: nodeId(node), incarnation }) as const;

test("the first to name the cluster, or to bind a member, has the say", () => {
  const { machine, changes, apply } = setUp();
  apply({ kind: "found", clusterId: "aa", nodes: NODES });
  apply({ kind: "found", clusterId: "bb", nodes: {} });
  apply(bind("n1", "one"));
  apply(bind("n2", "two"));
  apply(bind("n1", "other"));
  expect(machine.facts).toMatchObject({
    ...{ clusterId: "aa", incarnations: { n1: "one", n2: "two" }, nodes: NODES },
  });
  expect(changes).toHaveLength(3);
});

test("an entry without a command, which only tells the floor, changes nothing", () => {
  const { changes, apply } = setUp();
  apply(undefined);
  expect(changes).toEqual([]);
});

test("what was dumped is told again when it is restored", () => {
  const { machine, apply } = setUp();
  apply({ kind: "found", clusterId: "aa", nodes: NODES });
  const again = setUp();
  again.machine.restore(machine.dump());
  expect(again.changes).toEqual([machine.facts]);
});

test("nodes come as learners, get a vote, and go for good; what can't be has no effect", () => {
  const { machine, apply } = setUp();
  const roles = () =>
    Object.fromEntries(Object.entries(machine.facts.nodes).map(([id, { role }]) => [id, role]));
  apply({ kind: "found", clusterId: "aa", nodes: NODES });
  apply(member("n1", "n1:7001", "removed"));
  expect(roles()).toEqual({ n1: "voter" });
  apply(member("n2", "n2:7001", "voter"));
  apply(member("n2", "n1:7001", "learner"));
  expect(roles()).toEqual({ n1: "voter" });
  apply(member("n2", "n2:7001", "learner"));
  apply(member("n1", "n1:7001", "removed"));
  expect(roles()).toEqual({ n1: "voter", n2: "learner" });
  apply(member("n2", "n2:7001", "voter"));
  apply(member("n1", "n1:7001", "removed"));
  apply(member("n1", "n1:7001", "learner"));
  apply(member("n1", "n1:7001", "voter"));
  expect(roles()).toEqual({ n1: "removed", n2: "voter" });
  // An address that is free again may be taken, under another name.
  apply(member("n3", "n1:7001", "learner"));
  expect(roles()).toEqual({ n1: "removed", n2: "voter", n3: "learner" });
});

test("there are never more members than a group may have", () => {
  const { machine, apply } = setUp();
  apply({ kind: "found", clusterId: "aa", nodes: NODES });
  for (let i = 2; i <= CONFIGURATION_NODES_MAX + 1; i++) apply(member(`n${i}`, `n${i}:7001`, "learner"));
  expect(Object.keys(machine.facts.nodes)).toHaveLength(CONFIGURATION_NODES_MAX);
  apply(member("n5", "n5:7001", "removed"));
  apply(member("more", "more:7001", "learner"));
  expect(Object.keys(machine.facts.nodes)).toContain("more");
});
