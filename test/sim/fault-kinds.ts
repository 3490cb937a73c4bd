/** The faults that a run may be made of, by the names of the command line. */
export const FAULT_KINDS = [
  /** Messages of Raft are lost, come twice, or come in another order, and the network is slow. */
  "loss",
  "repeat",
  "reorder",
  "delay",
  /** Some nodes can't reach some others: both ways or one, a few seconds long. */
  "partition",
  /** Nodes are cut off one after the other, and come back in another order. */
  "swizzle",
  /** Connections break, and one of the two sides may not be told. */
  "break",
  /** A process ends in the middle of a disk operation, or between two; alone or with others. */
  "crash",
  /** The same with the disk forgetting what was not synced. */
  "powerloss",
  /** A node is away for long, and finds that the others went on without it. */
  "absence",
  /** Something is done to a node just when it says something that matters: when it votes, begins to lead, hands over. */
  "ambush",
  /** A node is told to stop, and started again. */
  "stop",
  /** A process stands still, and goes on; or it does so on a network that comes back later. */
  "pause",
  /** A machine is suspended: its monotonic clock does not see the time that passes. */
  "suspend",
  /** A monotonic clock runs fast or slow. */
  "drift",
  /** A wall clock is set to some other time, while a node runs or between two processes. */
  "jump",
  /** Somebody wants many times as much as there is room for. */
  "flood",
  "slowdisk",
  "fsync",
  "diskfull",
  /** A bit of a file changes on the disk of one node. */
  "bitflip",
  /** A block of a file is overwritten with what was meant for another place. */
  "misdirect",
  /** One node comes back with an empty disk. */
  "wipe",
  /** A node is added, gets a vote, and another one is removed. */
  "members",
  /** Leaders are told to hand over. */
  "transfer",
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];
