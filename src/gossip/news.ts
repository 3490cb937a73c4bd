import type { GossipFacts, LeaderHint, LoadFact, MemberFact } from "../../protocol/gossip-messages.ts";
import type { NodeId, ShardId } from "../../protocol/ids.ts";
import type { Knowledge } from "./knowledge.ts";
import { type GossipOptions, transmissionsAmong } from "./options.ts";
import { Rumours } from "./rumours.ts";
import { hintBytes, loadBytes, memberBytes } from "./sizes.ts";

/**
 * What a node has heard lately and passes on, riding on the messages that it sends anyway. What rides on one message is
 * bounded; members come before loads and leaders, and those two share what room is left.
 */
export class News {
  readonly #knowledge: Knowledge;
  readonly #options: GossipOptions;
  readonly #members = new Rumours<NodeId>();
  readonly #loads = new Rumours<NodeId>();
  readonly #hints = new Rumours<ShardId>();

  constructor(knowledge: Knowledge, options: GossipOptions) {
    this.#knowledge = knowledge;
    this.#options = options;
  }

  /** There is something new about the member, about its load, about who leads the shard. */
  member(node: NodeId): void {
    this.#members.add(node);
  }

  load(node: NodeId): void {
    this.#loads.add(node);
  }

  leader(shard: ShardId): void {
    this.#hints.add(shard);
  }

  forget(node: NodeId): void {
    this.#members.remove(node);
    this.#loads.remove(node);
  }

  /** What rides on a message to `to`: first what it must hear of itself, then news, the least told first. */
  take(to: NodeId): GossipFacts {
    const members: MemberFact[] = [];
    const loads: LoadFact[] = [];
    const leaders: LeaderHint[] = [];
    let room = this.#options.piggybackBytesMax;
    const limit = transmissionsAmong(this.#options, this.#knowledge.present);
    const owed = this.#knowledge.owed(to);
    if (owed !== undefined) {
      members.push(owed);
      room -= memberBytes(owed);
    }
    this.#members.offer(limit, (node) => {
      if (node === to) return "skipped";
      const fact = this.#knowledge.fact(node)!;
      const bytes = memberBytes(fact);
      if (bytes > room) return "full";
      room -= bytes;
      members.push(fact);
      return "taken";
    });
    // A crowd of leaders is not to keep out the loads, nor the other way round.
    let loadRoom = this.#hints.size > 0 ? Math.floor(room / 4) : room;
    this.#loads.offer(this.#options.loadTransmissions, (node) => {
      if (node === to) return "skipped";
      const fact = this.#knowledge.load(node)!;
      const bytes = loadBytes(fact);
      if (bytes > loadRoom) return "full";
      loadRoom -= bytes;
      room -= bytes;
      loads.push(fact);
      return "taken";
    });
    this.#hints.offer(limit, (shard) => {
      const hint = this.#knowledge.hint(shard)!;
      const bytes = hintBytes(hint);
      if (bytes > room) return "full";
      room -= bytes;
      leaders.push(hint);
      return "taken";
    });
    return { members, loads, leaders };
  }
}
