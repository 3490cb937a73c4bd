import { ByteWriter } from "../../../protocol/cbor.ts";
import { decodeGossip, encodeGossip } from "../../../protocol/gossip.ts";
import type { GossipMessage } from "../../../protocol/gossip-messages.ts";
import { frameOf } from "../../../protocol/test-frames.ts";

/** Encodes and decodes messages, and counts the bytes of their frames. */
export class Wire {
  readonly #writer = new ByteWriter();
  bytes = 0;
  /** The longest frame that was not part of a sync, and the longest that was. */
  longest = 0;
  longestSync = 0;

  readonly carry = (message: GossipMessage): GossipMessage => {
    this.#writer.reset();
    encodeGossip(this.#writer, message);
    const { length } = this.#writer;
    this.bytes += length;
    if (message.kind === "sync") this.longestSync = Math.max(this.longestSync, length);
    else this.longest = Math.max(this.longest, length);
    return decodeGossip(frameOf(this.#writer.copy()), message.from, message.to);
  };
}
