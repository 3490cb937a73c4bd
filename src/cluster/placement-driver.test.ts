import { describe, expect, test } from "bun:test";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { newcomersOf, type PlanNode, reportOf } from "../placement/plan.ts";
import { placeShards, type RingOptions } from "../placement/ring.ts";
import { type DrivenFacts, type DrivenShard, PlacementDriver, type WantedSet } from "./placement-driver.ts";

const LIMITS = { movesPerNode: 2, bytesPerNode: 1000, moves: 4, bytesPerSecond: 300, moveSeconds: 1 };
const RING: RingOptions = { virtualNodes: 20, replicas: 3 };

/** The system group's facts, in memory: what is proposed is done when the test says so. */
class Facts {
  nowMs = 1_000_000;
  isLeader = true;
  ring: RingOptions = RING;
  nodes: PlanNode[];
  shards: DrivenShard[];
  /** Who shall vote in the system group, and who does. */
  voters: readonly NodeId[] = [];
  members: readonly NodeId[] = [];
  readonly proposals: WantedSet[] = [];
  /** Changes of the facts that no set's version shows. */
  changes = 0;
  /** Which shard, who keeps its vote, and who does not get it. */
  readonly takenBack: (string | number | undefined)[][] = [];
  driver = this.#newDriver();

  constructor(nodes: number, shards = 12) {
    this.nodes = Array.from({ length: nodes }, (_, i) => nodeOf(`n${i + 1}`));
    const sets = placeShards(shards, this.nodes, RING);
    this.shards = sets.map((wanted) => ({
      wanted,
      copies: [],
      actual: { ...NOTHING, voters: wanted },
      bytes: 100,
      version: 1,
    }));
  }

  #newDriver(): PlacementDriver {
    return new PlacementDriver({
      limits: LIMITS,
      nowMs: () => this.nowMs,
      facts: () => (this.isLeader ? this.facts : undefined),
      proposeReplicas: (changes) => void this.proposals.push(...changes),
      proposeSystemVoters: (voters) => {
        this.voters = voters;
      },
      tookBack: ({ shard, add, remove }) => void this.takenBack.push([shard, add, remove]),
    });
  }

  get facts(): DrivenFacts {
    const systemMembers = { voters: this.members, outgoing: [] };
    const version = this.shards.reduce((sum, row) => sum + row.version, 0) + this.changes;
    return { ...this, version, systemVoters: this.voters, systemMembers };
  }

  /** The driver dies and another one takes over. */
  replaceDriver(): void {
    this.driver = this.#newDriver();
  }

  /** What is proposed about replicas; with `aboutLeaders`, of who should lead. */
  turn(seconds = 1, aboutLeaders = false): WantedSet[] {
    this.nowMs += seconds * 1000;
    this.proposals.length = 0;
    this.driver.turn();
    const isOrder = ({ shard, wanted }: WantedSet) =>
      wanted.toSorted().join() === this.shards[shard]!.wanted.toSorted().join();
    return this.proposals.filter((proposal) => isOrder(proposal) === aboutLeaders);
  }

  /** The proposals have been applied; the shards have yet to follow. */
  apply(proposals: readonly WantedSet[]): void {
    for (const { shard, version, wanted } of proposals) {
      const row = this.shards[shard]!;
      if (row.version === version) this.shards[shard] = { ...row, wanted, version: version + 1 };
    }
  }

  /** The shards' leaders have done what is wanted, and said so. */
  follow(): void {
    this.changes++;
    this.shards = this.shards.map((row) => ({ ...row, actual: { ...NOTHING, voters: row.wanted } }));
  }

  set(id: string, change: Partial<PlanNode>): void {
    this.nodes = this.nodes.map((node) => (node.id === id ? { ...node, ...change } : node));
  }

  held(id: string): number {
    return this.shards.filter(({ wanted }) => wanted.includes(nodeId(id))).length;
  }
}

const NOTHING = { outgoing: [], learners: [] };
const nodeOf = (id: string): PlanNode => {
  return { id: nodeId(id), host: id, zone: "", weight: 1, isLeaving: false, health: "up" };
};

describe("replicas", () => {
  test("a newcomer gets its share, a few at a time, and then nothing happens any more", () => {
    const facts = new Facts(4);
    expect(facts.turn()).toEqual([]);
    facts.nodes.push(nodeOf("n5"));
    for (let turns = 0; facts.held("n5") < 7; turns++) {
      expect(turns).toBeLessThan(20);
      const proposals = facts.turn();
      facts.apply(proposals);
      expect(facts.shards.filter((row) => newcomersOf(row).length > 0).length).toBeLessThanOrEqual(2);
      facts.follow();
    }
    expect(facts.turn()).toEqual([]);
    expect(reportOf(facts.facts, LIMITS)).toEqual({
      underWay: [],
      toCome: [],
      estimate: { moves: 0, bytes: 0, seconds: 0 },
    });
  });

  test("what was proposed is waited for, counts against the limits, and is proposed again when it came to nothing", () => {
    const facts = new Facts(4);
    facts.turn();
    facts.nodes.push(nodeOf("n5"));
    const first = facts.turn();
    expect(first).toHaveLength(LIMITS.movesPerNode);
    expect(facts.turn()).toEqual([]);
    expect(facts.turn(6).map(({ shard }) => shard)).toEqual(first.map(({ shard }) => shard));
    // A change that somebody else made makes the proposal void, and the driver look again.
    facts.shards = facts.shards.map((row) => ({ ...row, version: row.version + 1 }));
    expect(facts.turn()[0]!.version).toBe(2);
  });

  test("what is taken back is told", () => {
    const facts = new Facts(4);
    facts.nodes.push(nodeOf("n5"));
    facts.turn();
    const begun = facts.turn();
    const stays = begun.map(({ shard, wanted }) => {
      return [shard, facts.shards[shard]!.wanted.find((id) => !wanted.includes(id)), "n5"];
    });
    facts.apply(begun);
    expect(facts.takenBack).toEqual([]);
    facts.set("n5", { health: "down" });
    facts.turn();
    expect(facts.takenBack.length).toBeGreaterThan(0);
    expect(facts.takenBack).toEqual(stays);
  });

  test("another driver goes on where the first one ended", () => {
    const facts = new Facts(4);
    facts.turn();
    facts.nodes.push(nodeOf("n5"));
    facts.apply(facts.turn());
    facts.replaceDriver();
    facts.turn();
    expect(facts.turn()).toEqual([]);
    const underWay = reportOf(facts.facts, LIMITS).underWay;
    expect(underWay.map(({ add, bytes }) => [add, bytes])).toEqual([1, 2].map(() => [nodeId("n5"), 100]));
    facts.follow();
    expect(facts.turn()).toHaveLength(2);
  });

  test("no more bytes a second are begun than the limit says, over time", () => {
    const facts = new Facts(3);
    facts.turn();
    facts.shards = facts.shards.map((row) => ({ ...row, bytes: 450 }));
    for (let i = 4; i <= 9; i++) facts.nodes.push(nodeOf(`n${i}`));
    let begun = 0;
    for (let second = 1; second <= 20; second++) {
      const proposals = facts.turn();
      begun += 450 * proposals.length;
      expect(begun).toBeLessThanOrEqual(300 * second + 450);
      facts.apply(proposals);
      facts.follow();
    }
    expect(begun).toBeGreaterThan(300 * 18);
  });

  test("who is lost is replaced, and gets its share again when it is back", () => {
    const facts = new Facts(5);
    facts.turn();
    facts.set("n2", { health: "down" });
    expect(facts.turn()).toEqual([]);
    facts.set("n2", { health: "lost" });
    const proposals = facts.turn();
    expect(proposals.length).toBeGreaterThan(0);
    for (const { shard, wanted } of proposals) {
      expect(facts.shards[shard]!.wanted).toContain(nodeId("n2"));
      expect(wanted).not.toContain(nodeId("n2"));
    }
    facts.apply(proposals);
    facts.follow();
    facts.set("n2", { health: "up" });
    const back = facts.turn();
    expect(back.every(({ wanted }) => wanted.includes(nodeId("n2")))).toBe(true);
  });

  test("nothing is proposed where somebody else drives", () => {
    const facts = new Facts(4);
    facts.turn();
    facts.nodes.push(nodeOf("n5"));
    facts.isLeader = false;
    expect(facts.turn()).toEqual([]);
    facts.isLeader = true;
    // A leader's first turn has no budget yet: the one before it may have begun things in the same second.
    expect(facts.turn()).toEqual([]);
    expect(facts.turn()).toHaveLength(2);
  });

  test("a drain is reported with what is under way and what is to come", () => {
    const facts = new Facts(5);
    facts.turn();
    facts.set("n3", { isLeaving: true });
    const held = facts.held("n3");
    facts.apply(facts.turn());
    const { underWay, toCome, estimate } = reportOf(facts.facts, LIMITS);
    expect(underWay.length).toBeGreaterThan(0);
    expect(underWay.length + toCome.length).toBeWithin(held, held + 3);
    const moves = underWay.length + toCome.length;
    expect(estimate).toMatchObject({ moves, bytes: 100 * moves });
  });
});

describe("at rest", () => {
  test("nothing is worked out until the facts or the nodes are others", () => {
    const facts = new Facts(4);
    facts.voters = facts.members = ["n1", "n2", "n3"].map(nodeId);
    let looks = 0;
    facts.ring = {
      virtualNodes: 20,
      get replicas() {
        looks++;
        return 3;
      },
    };
    facts.turn();
    expect(looks).toBeGreaterThan(0);
    const before = looks;
    for (let i = 0; i < 5; i++) facts.turn();
    expect(looks).toBe(before);
    facts.set("n2", { health: "down" });
    facts.turn();
    expect(looks).toBeGreaterThan(before);
    const then = looks;
    facts.driver.reconsider();
    facts.turn();
    expect(looks).toBeGreaterThan(then);
    const last = looks;
    facts.follow();
    facts.turn();
    expect(looks).toBeGreaterThan(last);
  });
});

describe("leaders", () => {
  const led = (facts: Facts, id: string) => facts.shards.filter(({ wanted }) => wanted[0] === id).length;

  test("who leaves should lead nothing, at once", () => {
    const facts = new Facts(6);
    facts.turn();
    facts.set("n3", { isLeaving: true });
    expect(led(facts, "n3")).toBe(2);
    const moves = facts.turn();
    const orders = facts.proposals.filter(({ wanted }) => wanted.includes(nodeId("n3")));
    expect(new Set(facts.proposals.map(({ shard }) => shard)).size).toBe(facts.proposals.length);
    facts.apply([...moves, ...orders]);
    expect(led(facts, "n3")).toBe(0);
  });

  test("are evened out when the replicas are where they belong, and then stay", () => {
    const facts = new Facts(4);
    expect(facts.turn(1, true)).toEqual([]);
    const lopsided = facts.shards.map((row) => ({ ...row, wanted: row.wanted.toSorted() }));
    facts.shards = lopsided;
    const count = (id: string) => led(facts, id);
    expect(Math.max(...["n1", "n2", "n3", "n4"].map(count))).toBeGreaterThan(3);
    facts.nodes.push(nodeOf("n5"));
    expect(facts.turn(1, true)).toEqual([]);
    facts.nodes.pop();
    facts.shards = lopsided.map((row) => ({ ...row, version: 7 }));
    facts.apply(facts.turn(1, true));
    expect(["n1", "n2", "n3", "n4"].map(count)).toEqual([3, 3, 3, 3]);
    expect(facts.turn(1, true)).toEqual([]);
  });

  test("a few at a time", () => {
    const facts = new Facts(3, 90);
    facts.turn();
    facts.shards = facts.shards.map((row) => ({ ...row, wanted: row.wanted.toSorted() }));
    expect(facts.turn(1, true)).toHaveLength(16);
  });
});

describe("the system group's votes", () => {
  const ids = (...names: string[]) => names.map(nodeId);

  function voting(nodes: number, ...voters: string[]): Facts {
    const facts = new Facts(nodes);
    facts.voters = ids(...voters);
    facts.members = facts.voters;
    return facts;
  }

  test("follow the nodes, one change after the other", () => {
    const facts = voting(5, "n1", "n2", "n3");
    facts.turn();
    expect(facts.voters).toEqual(ids("n1", "n2", "n3", "n4", "n5"));
    facts.set("n1", { isLeaving: true });
    facts.turn();
    expect(facts.voters).toHaveLength(5);
    facts.members = facts.voters;
    facts.turn();
    expect(facts.voters).toHaveLength(3);
    expect(facts.voters).not.toContain(nodeId("n1"));
  });

  test("are not waited for when a newcomer is not there", () => {
    const facts = voting(4, "n1", "n2", "n3");
    facts.set("n2", { isLeaving: true });
    facts.turn();
    expect(facts.voters).toEqual(ids("n1", "n3", "n4"));
    facts.set("n4", { health: "down" });
    facts.nodes.push(nodeOf("n5"));
    facts.turn();
    expect(facts.voters).toEqual(ids("n1", "n3", "n5"));
    facts.set("n5", { isLeaving: true });
    facts.turn();
    expect(facts.voters).toEqual(ids("n1", "n2", "n3"));
  });

  test("are not left to who has fallen silent since: another one gets the last of them", () => {
    const facts = voting(4, "n1", "n2", "n3");
    for (const id of ["n2", "n3"]) facts.set(id, { isLeaving: true });
    facts.turn();
    expect(facts.voters).toEqual(ids("n1"));
    facts.turn();
    expect(facts.voters).toEqual(ids("n1"));
    // It never came about, and n1 alone could not decide on anything any more.
    facts.set("n1", { health: "down" });
    facts.set("n2", { isLeaving: false });
    facts.turn();
    expect(facts.voters).not.toEqual(ids("n1"));
    expect(facts.voters).toContain(nodeId("n2"));
  });
});
