import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import type { ChangeMember, ClientResponse, Join } from "../protocol/messages.ts";
import { VirtualClock } from "../test/support/virtual-clock.ts";
import { Administration, type AdministrationParts } from "./administration.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];
const DRAIN: ChangeMember = {
  ...{ kind: "changeMember", action: "drain", node: n2, successor: "", forwarded: true },
};
const JOIN: Join = {
  ...{ kind: "join", node: nodeId("n3"), incarnation: "aa", address: "n3:7001", labels: {}, forwarded: true },
};

/** A node that leads the system group, whose log takes commands or, while it hands over, does not. */
function setUp(takes: boolean) {
  const clock = new VirtualClock();
  let isDone = false;
  const parts = {
    ...{ self: n1, clock, timeoutMs: 1000 },
    host: { systemShard: { isLeader: true, leader: n1, proposeRaw: () => takes } },
    membership: {
      facts: { clusterId: "c" },
      isDone: () => isDone,
      change: () => ({ kind: "state", node: n2, state: "draining", successor: "" }),
      admission: ({ node, incarnation, address, labels }: Join) => {
        return { kind: "admit", node, incarnation, address, labels };
      },
      joined: () => undefined,
    },
  } as unknown as AdministrationParts;
  const answers: ClientResponse[] = [];
  const administration = new Administration(parts);
  return {
    ...{ clock, answers },
    ask: (request: ChangeMember | Join) =>
      administration.execute(request, { reply: (_, response) => void answers.push(response) }, 1),
    apply: () => {
      isDone = true;
    },
  };
}

test("a change is answered when it has come about, and after a while that it has not", async () => {
  const { clock, answers, ask, apply } = setUp(true);
  ask(DRAIN);
  await clock.until(() => answers.length > 0);
  expect(answers.splice(0)).toMatchObject([{ error: "TIMEOUT" }]);
  ask(DRAIN);
  expect(answers).toEqual([]);
  apply();
  await clock.until(() => answers.length > 0);
  expect(answers).toEqual([{ kind: "boolean", value: true }]);
});

test("a leader that hands over takes nothing, and says so at once: who asked asks the next one", () => {
  const { answers, ask } = setUp(false);
  ask(DRAIN);
  ask(JOIN);
  expect(answers).toMatchObject([{ error: "UNAVAILABLE" }, { error: "UNAVAILABLE" }]);
});
