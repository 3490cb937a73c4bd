import { type GroupId, type LogIndex, logIndex, type NodeId, type Term } from "../../protocol/ids.ts";
import type { GroupMessage, SnapshotAck, SnapshotPart } from "../../protocol/peer-messages.ts";
import type { Clock, Log } from "../env/env.ts";
import type { RaftStatus } from "../raft/types.ts";
import type { ShardSpace } from "./shard-space.ts";
import type { SnapshotSizes } from "./snapshot-format.ts";
import type { SnapshotHead } from "./snapshot-head.ts";
import { SnapshotReceiver, type WholeSnapshot } from "./snapshot-receiver.ts";
import { SnapshotSender } from "./snapshot-sender.ts";
import type { StateMachine } from "./state-machine.ts";
import type { StreamBudget } from "./stream-budget.ts";

export interface ExchangeParts {
  readonly self: NodeId;
  readonly group: GroupId;
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Pick<Log, "info" | "warn">;
  readonly machine: Pick<StateMachine, "checkDump">;
  readonly sizes: SnapshotSizes;
  /** `undefined` for a group whose whole state is in its head. */
  readonly space: ShardSpace | undefined;
  readonly budget: StreamBudget;
  /** What a snapshot of the shard as it is now begins with. Costly where there are many sessions. */
  readonly head: () => SnapshotHead;
  readonly send: (group: GroupId, message: GroupMessage) => void;
}

/** What the core says of another member. */
type Replica = Pick<RaftStatus["replicas"][number], "node" | "active" | "state">;

/** Who got a snapshot of what comes up to `index`, and until when it may take its time to go on from there. */
interface Served {
  readonly node: NodeId;
  readonly index: LogIndex;
  readonly untilMs: number;
}

/** The snapshots that one group's replica sends and takes. */
export class SnapshotExchange {
  readonly #parts: ExchangeParts;
  readonly #receiver: SnapshotReceiver;
  #senders: SnapshotSender[] = [];
  /** Who is to be sent a snapshot when the budget has room, each once. */
  #waiting: readonly NodeId[] = [];
  #served: readonly Served[] = [];
  /** Streams that were begun in this life. It can't lead a term that it led in an earlier one. */
  #begun = 0;

  constructor(parts: ExchangeParts) {
    this.#parts = parts;
    this.#receiver = new SnapshotReceiver(parts.self, parts.space, (dump) => parts.machine.checkDump(dump));
  }

  /**
   * Begins to send what the shard is now, instead of what is being sent to this node perhaps: two streams to one node would
   * take the receiver away from each other for ever. If too much is being sent already, `tick` begins once there is room:
   * nobody has to ask again. To be called where the engine has what is applied, and nothing else.
   */
  begin(to: NodeId, term: Term): void {
    const { self, group, clock, space, sizes, budget, log, send } = this.#parts;
    for (const sender of this.#senders) if (sender.to === to) this.#end(sender);
    this.#waiting = this.#waiting.filter((node) => node !== to);
    if (!budget.begin()) {
      this.#waiting = [...this.#waiting, to];
      return;
    }
    const head = this.#parts.head();
    const sender = new SnapshotSender({
      ...{ self, to, term, head, space, sizes, budget },
      stream: ++this.#begun,
      send: (part) => send(group, part),
      nowMs: () => clock.nowMs(),
    });
    log.info("sends a snapshot", { group, to, index: head.index });
    this.#senders.push(sender);
    sender.fill();
  }

  /** What an answer means for its stream: the index that the receiver has got, or that it failed; `undefined`: it goes on. */
  acknowledged(ack: SnapshotAck): LogIndex | "failed" | undefined {
    const sender = this.#senders.find((candidate) => candidate.isAnsweredBy(ack));
    if (sender === undefined) return undefined;
    if (!ack.refused) sender.acknowledged(ack);
    if (!ack.refused && !sender.isDone) return undefined;
    this.#end(sender);
    if (ack.refused) return "failed";
    const { to: node, index } = sender;
    const { clock, sizes } = this.#parts;
    this.#served = [...this.#served, { node, index, untilMs: clock.nowMs() + sizes.giveUpMs }];
    return index;
  }

  /** Takes a part of a leader whose term is not an old one; the snapshot, once all of it is there. */
  receive(part: SnapshotPart): WholeSnapshot | undefined {
    const { group, log, send } = this.#parts;
    const { ack, whole, fault } = this.#receiver.receive(part);
    if (fault !== undefined) {
      log.warn("refuses a snapshot", { group, from: part.from, part: part.part, reason: fault });
    }
    if (ack !== undefined) send(group, ack);
    return whole;
  }

  refuse(part: SnapshotPart): void {
    this.#parts.send(this.#parts.group, this.#receiver.refuse(part));
  }

  /**
   * Goes on where the budget allows it, begins what waited for it, and sends again what may be lost. Those who have been given
   * up. `replicas`: the others, as the core has them now. To be called as `begin` is.
   */
  tick(term: Term, replicas: () => readonly Replica[]): readonly NodeId[] {
    const givenUp = this.#senders.filter((sender) => !sender.tick());
    for (const sender of givenUp) this.#end(sender);
    const failed = givenUp.map(({ to }) => to);
    if (this.#waiting.length === 0 || !this.#parts.budget.hasRoom) return failed;
    const turn = this.#waiting;
    this.#waiting = [];
    const known = replicas();
    for (const to of turn) {
      const replica = known.find(({ node }) => node === to);
      // It is no member any more, or got on in another way.
      if (replica?.state !== "snapshot") continue;
      // A stream to nobody would keep others waiting until it is given up. The core asks again once it hears of that member.
      if (replica.active) this.begin(to, term);
      else failed.push(to);
    }
    return failed;
  }

  connected(node: NodeId): void {
    for (const sender of this.#senders) if (sender.to === node) sender.resend();
  }

  /** The replica does not lead any more: nobody waits for what it sends. */
  stopSending(): void {
    this.#waiting = [];
    for (const sender of [...this.#senders]) this.#end(sender);
  }

  /** Whether it sends something, or has yet to: `tick` must go on to be called. */
  get isSending(): boolean {
    return this.#senders.length > 0 || this.#waiting.length > 0;
  }

  /**
   * The log behind this has to stay, as far as it goes by snapshots: whoever is sent one goes on from there, and whoever got
   * one has a while to catch up, or it would need the next one at once. `replicas`: the others, and what they have; none
   * where the replica does not lead.
   */
  oldestNeeded(
    replicas: readonly { readonly node: NodeId; readonly matchIndex: LogIndex }[],
  ): LogIndex | undefined {
    if (this.#senders.length === 0 && this.#served.length === 0) return undefined;
    let oldest: LogIndex | undefined;
    const need = (index: LogIndex): void => {
      if (oldest === undefined || index < oldest) oldest = index;
    };
    for (const { index } of this.#senders) need(index);
    const nowMs = this.#parts.clock.nowMs();
    this.#served = this.#served.filter(
      ({ node, untilMs }) => nowMs < untilMs && replicas.some((replica) => replica.node === node),
    );
    for (const { node, index } of this.#served) {
      const { matchIndex } = replicas.find((replica) => replica.node === node)!;
      need(logIndex(Math.max(matchIndex, index)));
    }
    return oldest;
  }

  #end(sender: SnapshotSender): void {
    sender.close();
    this.#senders = this.#senders.filter((other) => other !== sender);
    this.#parts.budget.end();
  }
}
