/** A cluster of a few machines for tests that make their own faults. */
import { nodeId } from "../../protocol/ids.ts";
import { memberAt } from "../../src/config.ts";
import { type MachineParts, SimulatedMachine } from "./machine.ts";

type Choices = Pick<MachineParts, "network" | "random" | "shards" | "replicas" | "leaseDriftPercent">;

/** Machines of these names, all of which found the cluster, with the sizes that ship; they boot. */
export function bootFounders(names: readonly string[], choices: Choices): readonly SimulatedMachine[] {
  const members = names.map((name) => memberAt(nodeId(name), name, 7001));
  const machines = members.map(
    (member) =>
      new SimulatedMachine({ ...choices, member, members, joins: false, sizes: {}, tell: () => {} }),
  );
  for (const machine of machines) machine.boot();
  return machines;
}
