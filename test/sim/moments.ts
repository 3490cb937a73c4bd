/** What an ambush of the simulator's faults may wait for. */
import type { GroupMessage } from "../../protocol/peer-messages.ts";

/** Messages after which it matters whether their senders, or those who get them, are still there. */
export const MOMENTS: Readonly<Record<string, (message: GroupMessage) => boolean>> = {
  stands: (message) => message.kind === "vote" && !message.preVote,
  votes: (message) => message.kind === "voteReply" && message.granted && !message.preVote,
  "begins to lead": (message) => message.kind === "append" && message.entries[0]?.kind === "noop",
  "changes the members": (message) =>
    message.kind === "append" && message.entries.some(({ kind }) => kind === "config"),
  "sends entries": (message) => message.kind === "append" && message.entries.length > 0,
  acknowledges: (message) => message.kind === "appendReply" && message.accepted,
  rejects: (message) => message.kind === "appendReply" && !message.accepted,
  "asks for a read": (message) => message.kind === "heartbeat" && message.readRound > 0,
  "hands over": (message) => message.kind === "timeoutNow",
  "sends a snapshot": (message) => message.kind === "snapshotPart",
  "takes a snapshot": (message) => message.kind === "snapshotAck",
};

/** What a node is in the middle of on its disk when it says this in its log. */
export const DEEDS: Readonly<Record<string, string>> = {
  "drops a replica": "destroys a replica that others have taken over",
  "installs a snapshot": "installs a snapshot",
  "shortens its log": "lets a segment of its log go",
};
