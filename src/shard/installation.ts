import type { GroupMessage, SnapshotPart } from "../../protocol/peer-messages.ts";
import { assert } from "../lib/assert.ts";
import type { Output, RaftCore } from "../raft/types.ts";
import type { AppliedState } from "./applied-state.ts";
import type { ShardParts } from "./shard-parts.ts";
import type { SnapshotExchange } from "./snapshot-exchange.ts";
import type { WholeSnapshot } from "./snapshot-receiver.ts";

type Parts = Pick<
  ShardParts,
  "self" | "group" | "logStore" | "space" | "flushEngine" | "log" | "fail" | "send"
>;

/**
 * A snapshot that arrives, and how it takes the place of data and log. The core says whether it does; from then on it is what
 * this replica is. But until the engine has it in tables, with its applied index, a crash would bring the old state back,
 * and nobody may hear of the new one: nothing else of the group happens meanwhile, but that its leader is told that this
 * replica is there. It would be taken for dead otherwise, and reads would wait for others.
 */
export class Installation {
  readonly #parts: Parts;
  readonly #core: RaftCore;
  readonly #exchange: SnapshotExchange;
  /** A snapshot that arrived; the core says whether it is installed. */
  #arrived: WholeSnapshot | undefined;
  /** The Output whose snapshot is being made durable. */
  #installing: { readonly output: Output; isDurable: boolean } | undefined;

  constructor(parts: Parts, core: RaftCore, exchange: SnapshotExchange) {
    this.#parts = parts;
    this.#core = core;
    this.#exchange = exchange;
  }

  get isUnderWay(): boolean {
    return this.#installing !== undefined;
  }

  receive(part: SnapshotPart): void {
    if (this.#arrived !== undefined) return;
    if (part.term < this.#core.term) {
      this.#exchange.refuse(part);
      return;
    }
    const whole = this.#exchange.receive(part);
    if (whole === undefined) return;
    this.#arrived = whole;
    const { index, term: lastTerm, membership } = whole.head;
    this.#core.snapshotReceived({ from: whole.from, term: whole.leaderTerm, index, lastTerm, membership });
  }

  /** Changes over to the snapshot that arrived. `done` is called when it is durable, and `end` may be called. */
  begin(output: Output, state: AppliedState, done: () => void): void {
    const { parts, head } = { parts: this.#parts, head: this.#arrived!.head };
    this.#arrived = undefined;
    assert(head.index === output.install!.index, `group ${parts.group}: the core installs another snapshot`);
    parts.log.info("installs a snapshot", { group: parts.group, index: head.index });
    parts.space?.changeOver();
    state.install(head);
    const installing = { output, isDurable: false };
    this.#installing = installing;
    parts.flushEngine().then(() => {
      installing.isDurable = true;
      parts.log.info("installed a snapshot", { group: parts.group, index: head.index });
      done();
    }, parts.fail);
  }

  /**
   * A message came that the core can't take now. A heartbeat of its leader is answered all the same: the answer says that
   * this replica follows nobody newer, which does not hang on what it has.
   */
  answer(message: GroupMessage): void {
    if (message.kind !== "heartbeat" || message.quiesce || message.term !== this.#core.term) return;
    const { self, group, send } = this.#parts;
    const { from, term, readRound } = message;
    send(group, { kind: "heartbeatReply", from: self, to: from, term, readRound });
  }

  /** Once the engine has the snapshot: begins the log behind it. The Output that waited for it, and goes on. */
  end(): Output | undefined {
    if (!this.#installing!.isDurable) return undefined;
    const { logStore, space, group } = this.#parts;
    const { output } = this.#installing!;
    this.#installing = undefined;
    logStore.restart(group, output.install!.index, output.install!.term);
    space?.clearOther();
    return output;
  }

  /** The core has said what it does: a snapshot that it did not install was not needed. */
  forget(): void {
    if (this.#arrived === undefined) return;
    this.#arrived = undefined;
    this.#parts.space?.clearOther();
  }
}
