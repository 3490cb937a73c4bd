/**
 * What operators ask of a cluster, seen through to its end: whole nodes on a virtual clock. A node that is removed is needed
 * until every group has let it go, since the group it still votes in can't decide without it that it may go.
 */
import { expect, test } from "bun:test";
import type { Routing } from "../../protocol/handler.ts";
import { nodeId, shardId } from "../../protocol/ids.ts";
import {
  type ChangeReplica,
  type ClientRequest,
  type ClientResponse,
  NO_SESSION,
  type ShardStatus,
} from "../../protocol/messages.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { testSeed } from "../support/seed.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { bootFounders } from "./founders.ts";
import type { SimulatedMachine } from "./machine.ts";
import { MemoryNetwork } from "./network.ts";

const SHARDS = 4;
const CHANGE_MS_MAX = 20_000;
const TEST_MS_MAX = 60_000;

class Machines {
  readonly clock = new VirtualClock();
  readonly #machines: readonly SimulatedMachine[];

  constructor(names: readonly string[], shards = SHARDS, replicas = 5) {
    const random = seededRandom(testSeed("administration"));
    const network = new MemoryNetwork(this.clock, random);
    this.#machines = bootFounders(names, { network, random, shards, replicas });
  }

  machine(name: string): SimulatedMachine {
    return this.#machines.find((machine) => machine.name === name)!;
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const deadlineMs = this.clock.nowMs() + CHANGE_MS_MAX;
    while (!condition()) {
      const failures = this.#machines.flatMap((machine) => machine.failures);
      if (failures.length > 0) throw new Error(failures.join("\n"));
      if (this.clock.nowMs() > deadlineMs) throw new Error(`not within ${CHANGE_MS_MAX} ms: ${what}`);
      await this.clock.step();
    }
  }

  /** Asks `name` until it answers as wanted: what can't be done just now is answered with an error that may be retried. */
  async ask(
    name: string,
    request: ClientRequest,
    routing: Routing,
    wanted: ClientResponse["kind"],
    what: string,
  ): Promise<void> {
    let isDone = false;
    let lastError = "";
    const ask = async (): Promise<void> => {
      while (!isDone) {
        const answer = await this.machine(name).execute(request, routing);
        isDone = typeof answer !== "string" && answer.kind === wanted;
        if (typeof answer !== "string" && answer.kind === "error") lastError = answer.message;
        await new Promise<void>((resolve) => this.clock.timer(50, resolve));
      }
    };
    ask();
    await this.until(() => isDone, what).catch((error) => {
      throw new Error(`${error.message}; the last answer was: ${lastError}`);
    });
  }

  /** Asks until the cluster has noted that `name` is removed. */
  remove(name: string): Promise<void> {
    const change = { kind: "changeMember", action: "remove", successor: "", forwarded: false } as const;
    return this.ask("n1", { ...change, node: nodeId(name) }, "redirect", "boolean", `${name} is removed`);
  }

  /** Whether the groups that are led by one of `names` are all, and have these members; in the system group not all vote. */
  areMembers(names: readonly string[]): boolean {
    const views = names.flatMap((name) => this.machine(name).status()?.shards ?? []);
    const membersOf = ({ shard, voters, learners }: ShardStatus) =>
      shard < 0 ? [...voters, ...learners].sort() : voters;
    const led = views.filter(
      (view) =>
        view.role === "leader" && membersOf(view).join() === names.join() && view.outgoing.length === 0,
    );
    return new Set(led.map(({ shard }) => shard)).size === SHARDS + 1;
  }

  async serve(name: string): Promise<void> {
    for (let shard = 0; shard < SHARDS; shard++) {
      const request = { kind: "openSession", shard: shardId(shard) } as const;
      await this.ask(name, request, "forward", "integer", `shard ${shard} serves`);
    }
  }
}

test(
  "of two nodes one can go",
  async () => {
    const machines = new Machines(["n1", "n2"]);
    await machines.until(() => machines.areMembers(["n1", "n2"]), "the cluster is there");
    await machines.remove("n2");
    await machines.until(() => machines.areMembers(["n1"]), "n1 is alone");
    await machines.serve("n1");
  },
  TEST_MS_MAX,
);

test(
  "most of the nodes can go at a time, and are let in no more then",
  async () => {
    const machines = new Machines(["n1", "n2", "n3", "n4", "n5"]);
    await machines.until(() => machines.areMembers(["n1", "n2", "n3", "n4", "n5"]), "the cluster is there");
    for (const name of ["n2", "n3", "n4"]) await machines.remove(name);
    await machines.until(() => machines.areMembers(["n1", "n5"]), "n1 and n5 are alone");
    await machines.serve("n5");
    machines.machine("n3").end("killed");
    machines.machine("n3").boot();
    const connected = (): string[] =>
      machines
        .machine("n1")
        .status()!
        .peers.filter((peer) => peer.connected)
        .map(({ id }) => id);
    await machines.until(() => connected().join() === "n5", "n1 talks to n5 only");
    await machines.until(() => machines.areMembers(["n1", "n5"]), "nothing has changed");
    expect(connected()).toEqual(["n5"]);
  },
  TEST_MS_MAX,
);

test(
  "a node that lost its disk is told so by a node that has no majority",
  async () => {
    const machines = new Machines(["n1", "n2", "n3"]);
    await machines.until(() => machines.areMembers(["n1", "n2", "n3"]), "the cluster is there");
    for (const name of ["n2", "n3"]) machines.machine(name).end("killed");
    const isLed = () =>
      machines
        .machine("n1")
        .status()!
        .shards.some(({ leader }) => leader !== null);
    await machines.until(() => !isLed(), "n1 has no leader");
    const join = { kind: "join", node: nodeId("n3"), incarnation: "another", forwarded: false } as const;
    const answer = await machines
      .machine("n1")
      .execute({ ...join, address: "n3:7001", labels: {} }, "redirect");
    expect(answer).toMatchObject({ kind: "error", error: "WRONG_INCARNATION" });
  },
  TEST_MS_MAX,
);

test(
  "leadership that was moved on demand stays where it is",
  async () => {
    const machines = new Machines(["n1", "n2", "n3"]);
    await machines.until(() => machines.areMembers(["n1", "n2", "n3"]), "the cluster is there");
    const leads = (): string =>
      ["n1", "n2", "n3"]
        .filter((name) => {
          const view = machines
            .machine(name)
            .status()
            ?.shards.find(({ shard }) => shard === 1);
          return view?.role === "leader";
        })
        .join();
    const wanted = leads() === "n3" ? "n1" : "n3";
    const request = {
      kind: "transferLeader",
      to: nodeId(wanted),
      shard: shardId(1),
      forwarded: false,
    } as const;
    await machines.ask("n2", request, "redirect", "boolean", "leadership is moved");
    const untilMs = machines.clock.nowMs() + 15_000;
    await machines.until(() => leads() !== wanted || machines.clock.nowMs() >= untilMs, "time passes");
    expect(leads()).toBe(wanted);
  },
  TEST_MS_MAX,
);

test(
  "a node gets a copy, a vote, gives it up and has nothing, while leaders die",
  async () => {
    const names = ["n1", "n2", "n3", "n4"];
    const machines = new Machines(names, 1, 3);
    const views = (shard: number) =>
      names.flatMap((name) => {
        const view = machines
          .machine(name)
          .status()
          ?.shards.find((one) => one.shard === shard);
        return view === undefined ? [] : [{ name, ...view }];
      });
    const led = (shard: number) =>
      views(shard)
        .filter(({ role }) => role === "leader")
        .sort((a, b) => b.term - a.term)[0];
    const voters = () => led(0)?.voters.map(String) ?? [];
    const copies = () => led(0)?.learners.map(String) ?? [];
    const isSettled = () => led(0)?.outgoing.length === 0 && led(-1) !== undefined;
    await machines.until(() => isSettled() && voters().length === 3, "the cluster is there");
    const fourth = names.find((name) => !voters().includes(name))!;
    const asked = (action: ChangeReplica["action"], at: string) => {
      const request = { kind: "changeReplica", action, node: nodeId(fourth), forwarded: false } as const;
      return machines.ask(
        at,
        { ...request, shard: shardId(0) },
        "redirect",
        "boolean",
        `${action} ${fourth}`,
      );
    };
    /** Asks, and soon after that both leaders die, and come back. */
    const askedAmongDeaths = async (action: ChangeReplica["action"], afterMs: number) => {
      const leaders = [...new Set([led(0)!.name, led(-1)!.name])];
      const at = names.find((name) => !leaders.includes(name))!;
      const died = new Promise<void>((resolve) =>
        machines.clock.timer(afterMs, () => {
          // One after the other: two of the three voters of the system group may be needed.
          const [first, second] = leaders;
          machines.machine(first!).end("killed");
          machines.clock.timer(3000, () => {
            machines.machine(first!).boot();
            if (second !== undefined) machines.machine(second).end("powerLost");
            machines.clock.timer(3000, () => {
              if (second !== undefined) machines.machine(second).boot();
              resolve();
            });
          });
        }),
      );
      let isOver = false;
      died.then(() => {
        isOver = true;
      });
      await asked(action, at);
      await machines.until(() => isOver && isSettled(), "all are there again");
    };
    const put = { kind: "put", stamp: NO_SESSION, key: utf8("a"), condition: "always" } as const;
    await machines.ask("n1", { ...put, value: utf8("1") }, "forward", "boolean", "a put");
    const has = (what: Uint8Array | undefined) => {
      let isSo = false;
      const request = { kind: "get", key: utf8("a"), consistency: "stale" } as const;
      machines
        .machine(fourth)
        .execute(request, "redirect")
        .then((answer) => {
          const value = typeof answer !== "string" && answer.kind === "value" ? answer.value : undefined;
          isSo = value?.[0] === what?.[0];
        });
      return () => isSo;
    };
    const untilHas = async (what: Uint8Array | undefined) => {
      for (let look = has(what); ; look = has(what)) {
        const lookMs = machines.clock.nowMs();
        await machines.until(() => look() || machines.clock.nowMs() > lookMs + 50, "an answer");
        if (look()) return;
      }
    };

    // What comes to the fourth node before it has the copy it does not answer with "nothing".
    let [blanks, others] = [0, 0];
    let isAdded = false;
    const look = (): void => {
      const request = { kind: "get", key: utf8("a"), consistency: "stale" } as const;
      machines
        .machine(fourth)
        .execute(request, "redirect")
        .then((answer) => {
          if (typeof answer !== "string" && answer.kind === "value" && answer.value === undefined) blanks++;
          else others++;
        });
      if (!isAdded) machines.clock.timer(1, look);
    };
    look();
    await askedAmongDeaths("add", 1);
    isAdded = true;
    expect(blanks).toBe(0);
    expect(others).toBeGreaterThan(0);
    expect([voters().length, copies()]).toEqual([3, [fourth]]);
    await untilHas(utf8("1"));
    await askedAmongDeaths("promote", 5);
    expect([voters().length, voters().includes(fourth), copies()]).toEqual([3, true, []]);
    await askedAmongDeaths("demote", 3);
    expect([voters().length, copies()]).toEqual([3, [fourth]]);
    await machines.ask("n1", { ...put, value: utf8("2") }, "forward", "boolean", "a put");
    await untilHas(utf8("2"));
    await askedAmongDeaths("remove", 2);
    expect([voters().length, voters().includes(fourth), copies()]).toEqual([3, false, []]);
    const isGone = () => views(0).every(({ name }) => name !== fourth);
    await machines.until(isGone, "what it had is destroyed");
  },
  TEST_MS_MAX,
);
