import { ProtocolError } from "../../protocol/errors.ts";
import type { Frame } from "../../protocol/frame.ts";
import { decodeHello, PEER_TYPES } from "../../protocol/peer.ts";
import type { PeerHello } from "../../protocol/peer-messages.ts";
import type { PeersParts, Refusal } from "./peers.ts";

/** Longest hello: enough for the ids of a few hundred members. A connection that is not admitted may send no more. */
export const HELLO_BYTES_MAX = 64 * 1024;

/** The hello that must be the first frame. Throws `ProtocolError`. */
export function expectHello(frame: Frame): PeerHello {
  if (frame.type !== PEER_TYPES.hello) {
    throw new ProtocolError("BAD_REQUEST", `a frame of type ${frame.type} came before the hello`);
  }
  return decodeHello(frame);
}

/** Whether a node may be a peer of this one: it has to be another node that is known, and to pass `admit`. */
export function judgeHello(parts: PeersParts, hello: PeerHello): Refusal | undefined {
  if (hello.node === parts.self) {
    return { error: "WRONG_CLUSTER", message: `this node is ${parts.self} itself` };
  }
  if (!parts.addresses.has(hello.node)) {
    return parts.stranger(hello);
  }
  return parts.admit(hello);
}
