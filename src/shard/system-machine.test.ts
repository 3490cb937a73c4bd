import { expect, test } from "bun:test";
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

const bind = (node: string, incarnation: string) =>
  ({ kind: "bind", node: nodeId(node), incarnation }) as const;

test("the first to name the cluster, or to bind a member, has the say", () => {
  const { machine, changes, apply } = setUp();
  apply({ kind: "found", clusterId: "aa" });
  apply({ kind: "found", clusterId: "bb" });
  apply(bind("n1", "one"));
  apply(bind("n2", "two"));
  apply(bind("n1", "other"));
  expect(machine.facts).toEqual({ clusterId: "aa", incarnations: { n1: "one", n2: "two" } });
  expect(changes).toHaveLength(3);
});

test("an entry without a command, which only tells the floor, changes nothing", () => {
  const { changes, apply } = setUp();
  apply(undefined);
  expect(changes).toEqual([]);
});

test("what was dumped is told again when it is restored", () => {
  const { machine, apply } = setUp();
  apply({ kind: "found", clusterId: "aa" });
  const again = setUp();
  again.machine.restore(machine.dump());
  expect(again.changes).toEqual([{ clusterId: "aa", incarnations: {} }]);
});
