/**
 * Why a node cannot start: its port is in use, its data directory is held by another process, or belongs to another
 * node or cluster. `message` is a sentence for the user; nothing on disk was changed.
 */
export class StartError extends Error {
  override readonly name = "StartError";
}
