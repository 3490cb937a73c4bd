import type { GroupId, NodeId, ShardId } from "../../protocol/ids.ts";
import { nodeId, shardId } from "../../protocol/ids.ts";
import type { GroupMessage, SnapshotPart } from "../../protocol/peer-messages.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { SimulatedFaults } from "./faults.ts";
import type { SimulatedMachine } from "./machine.ts";
import type { LinkState, MemoryNetwork } from "./network.ts";

export interface BrokenStreamsParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly machines: readonly SimulatedMachine[];
  readonly shards: number;
  /** Everything is healed then. */
  readonly untilMs: number;
  /** After so long without progress a leader gives a stream up. */
  readonly giveUpMs: number;
  readonly faults: Pick<SimulatedFaults, "end">;
  /** Hears what is done. */
  readonly tell: (event: string) => void;
}

/** How often it is looked whether something has come about. */
const LOOK_MS = 25;
/** Longest time for which a node is cut off until others have dropped what it lacks. */
const BEHIND_MS_MAX = 3500;
/** Longest wait for a stream to come to the part at which it is disturbed, and for its receiver to be up to date afterwards. */
const STREAM_MS_MAX = 1500;
/** Streams are mostly disturbed in their first parts: later on many are over. */
const EARLY_PARTS = 6;
const PARTS_MAX = 16;
/** Who waits for longer does not give up within a run. */
const PATIENT_MS = 5000;
/** Longest time until the next node is left behind. */
const REST_MS_MAX = 300;

/** A stream that is to be disturbed once it has come so far. */
interface Awaited {
  readonly to: string;
  readonly part: number;
  readonly reached: (from: NodeId | undefined) => void;
}

/**
 * Makes streams of snapshots, and breaks them off. One node after the other is cut off until the others have dropped what
 * it needs, and let back; when its stream has come to some part, that is lost or its sender or receiver ends, is cut off,
 * or hands over. So a stream goes on after a break, or another one follows, of the same leader or of the next, whose
 * content is not that of the first: clients delete and write all the time.
 */
export class BrokenStreams {
  readonly #parts: BrokenStreamsParts;
  #awaited: Awaited | undefined;
  /** By group, sender and receiver: the last part that was sent. */
  readonly #sent = new Map<string, Pick<SnapshotPart, "term" | "stream" | "part">>();

  constructor(parts: BrokenStreamsParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { random } = this.#parts;
    while (!this.#isOver) {
      await this.#sleep(random.float() * REST_MS_MAX);
      const shard = shardId(random.below(this.#parts.shards));
      const behind = this.#chooseFollower(shard);
      if (behind !== undefined && !this.#isOver) await this.#breakStreamTo(behind, shard);
    }
  }

  /** A message leaves its sender. */
  sees(group: GroupId, message: GroupMessage): void {
    if (message.kind !== "snapshotPart") return;
    this.#noteResumption(group, message);
    const awaited = this.#awaited;
    if (awaited === undefined || message.to !== awaited.to || message.part < awaited.part) return;
    this.#awaited = undefined;
    awaited.reached(message.from);
  }

  /** Tells where a stream goes on after a break: with a part that was sent before. */
  #noteResumption(group: GroupId, { from, to, term, stream, part }: SnapshotPart): void {
    const key = `${group} ${from} ${to}`;
    const known = this.#sent.get(key);
    const isKnown = known?.term === term && known.stream === stream;
    if (isKnown && part <= known.part) {
      this.#parts.tell(`${from} goes on with its snapshot to ${to} from part ${part}`);
    }
    this.#sent.set(key, { term, stream, part });
  }

  get #isOver(): boolean {
    return this.#parts.clock.nowMs() >= this.#parts.untilMs;
  }

  async #breakStreamTo(behind: SimulatedMachine, shard: ShardId): Promise<void> {
    const { random, tell } = this.#parts;
    tell(`${behind.name} is left behind`);
    // What is on its way through a cut that stalls arrives in the end, and may be enough.
    this.#link(behind, random.below(4) === 0 ? "stalled" : "refused");
    await this.#until(() => this.#needsSnapshot(behind, shard), BEHIND_MS_MAX);
    if (random.below(2) === 0) this.#lose(random.float() * STREAM_MS_MAX);
    const part = 1 + random.below(random.below(3) > 0 ? EARLY_PARTS : PARTS_MAX);
    const sender = await this.#streamReaches(behind, part);
    if (sender !== undefined && !this.#isOver) {
      // Now and then another blow follows, at a stream that goes on or at the one after it.
      await this.#strike(sender, behind);
      while (random.below(2) === 0 && !this.#isOver) {
        const next = await this.#streamReaches(behind, 1 + random.below(EARLY_PARTS));
        if (next === undefined) break;
        await this.#strike(next, behind);
      }
    }
    await this.#until(() => !this.#needsSnapshot(behind, shard), STREAM_MS_MAX);
  }

  /** Lets a node back, and waits for a stream to it that comes to some part; its sender. */
  #streamReaches(behind: SimulatedMachine, part: number): Promise<SimulatedMachine | undefined> {
    const { machines, clock } = this.#parts;
    const { promise, resolve } = Promise.withResolvers<NodeId | undefined>();
    const awaited: Awaited = { to: behind.name, part, reached: resolve };
    this.#awaited = awaited;
    this.#link(behind, "open");
    clock.timer(STREAM_MS_MAX, () => {
      if (this.#awaited === awaited) this.#awaited = undefined;
      resolve(undefined);
    });
    return promise.then((from) => machines.find(({ name }) => name === from));
  }

  async #strike(sender: SimulatedMachine, receiver: SimulatedMachine): Promise<void> {
    const { random, network, faults, giveUpMs, tell } = this.#parts;
    const blow = BLOWS[random.below(BLOWS.length)]!;
    tell(`${sender.name} streams to ${receiver.name}: ${blow}`);
    const briefMs = random.float() * 600;
    // Long enough for the others to elect a leader, and for him to write something.
    const longMs = 1200 + random.float() * 1500;
    if (blow === "parts are lost") this.#lose(briefMs);
    else if (blow === "the connection breaks") {
      network.breakConnections(sender.name, receiver.name, random.below(2) === 0 ? "both" : "one");
    } else if (blow === "a break") await this.#away(receiver, briefMs);
    // A leader that gives a stream up goes on with another one; where it is patient, parts are late.
    else if (blow === "the stream is given up")
      await this.#away(receiver, giveUpMs > PATIENT_MS ? longMs : giveUpMs + briefMs);
    else if (blow === "the sender is cut off") await this.#away(sender, longMs);
    else if (blow === "the sender ends") faults.end(sender);
    else if (blow === "the receiver ends") faults.end(receiver);
    else {
      const others = this.#parts.machines.filter((machine) => machine !== sender && machine !== receiver);
      const to = nodeId(others[random.below(others.length)]!.name);
      sender.execute({ kind: "transferLeader", to, shard: undefined, forwarded: false }, "redirect");
    }
  }

  async #away(machine: SimulatedMachine, lastingMs: number): Promise<void> {
    this.#link(machine, "stalled");
    await this.#until(() => false, lastingMs);
    this.#link(machine, "open");
  }

  /** Messages of Raft are lost for a while. */
  #lose(lastingMs: number): void {
    const { network, random, clock } = this.#parts;
    // Not so many that leaders lose their office.
    const percent = 3 + random.below(20);
    if (this.#isOver) return;
    network.lossPercent = percent;
    clock.timer(lastingMs, () => {
      if (!this.#isOver) network.lossPercent = 0;
    });
  }

  /** A follower of a shard that has a leader and can spare it. */
  #chooseFollower(shard: ShardId): SimulatedMachine | undefined {
    const { machines, random } = this.#parts;
    const leader = this.#leaderOf(shard);
    const holders = machines.filter((machine) => machine.describe(shard, 0) !== undefined);
    const followers = holders.filter((machine) => machine !== leader);
    if (leader === undefined || followers.length < 2) return undefined;
    return followers[random.below(followers.length)];
  }

  #leaderOf(shard: ShardId): SimulatedMachine | undefined {
    return this.#parts.machines.find((machine) => machine.describe(shard, 0)?.role === "leader");
  }

  /** Whether a follower lacks what the leader's log does not have any more. */
  #needsSnapshot(behind: SimulatedMachine, shard: ShardId): boolean {
    const leader = this.#leaderOf(shard)?.describe(shard, 0);
    const follower = behind.describe(shard, 0);
    return leader !== undefined && follower !== undefined && leader.firstIndex > follower.lastIndex + 1;
  }

  /** Sets what there is between a machine and all others. What was cut is open again once all is healed. */
  #link(machine: SimulatedMachine, state: LinkState): void {
    if (this.#isOver) return;
    this.#parts.network.setLinks(machine.name, this.#parts.machines, state);
  }

  /** Waits for `condition`, or for so long, or for the end. */
  async #until(condition: () => boolean, limitMs: number): Promise<void> {
    const deadlineMs = this.#parts.clock.nowMs() + limitMs;
    while (!this.#isOver && this.#parts.clock.nowMs() < deadlineMs && !condition()) {
      await this.#sleep(LOOK_MS);
    }
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.timer(delayMs, resolve));
  }
}

/** What befalls a stream. Often it is given up, which is what leaves half of it at a receiver that lives. */
const BLOWS = [
  "parts are lost",
  "the connection breaks",
  "a break",
  "the stream is given up",
  "the stream is given up",
  "the stream is given up",
  "the sender is cut off",
  "the sender ends",
  "the receiver ends",
  "the sender hands over",
] as const;
