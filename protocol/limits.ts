/** Every limit of the wire, with its unit. `protocol/README.md` states them too, and a test compares. */

/** Longest key. */
export const KEY_BYTES_MAX = 65_535;
/** Longest value. */
export const VALUE_BYTES_MAX = 8 * 1024 * 1024;
/** Longest frame from a client, counted as in its length field. A batch has to fit into it. */
export const CLIENT_FRAME_BYTES_MAX = 16 * 1024 * 1024;
/** Longest frame between peers: one append of the largest entry fits, with room for its envelope. */
export const PEER_FRAME_BYTES_MAX = 20 * 1024 * 1024;
/** Longest body of a peer's hello, which is read before it is known who speaks. */
export const HELLO_BYTES_MAX = 64 * 1024;
/** Longest body of a gossip message. */
export const GOSSIP_BODY_BYTES_MAX = 64 * 1024;
/** Of the nodes that suspect another one, so many are named. */
export const GOSSIP_SUSPECTORS_MAX = 8;
/** Most entries a scan answers with in one reply, and the bytes of them at which it ends; a longer scan goes on from the last key. */
export const SCAN_ENTRIES_MAX = 10_000;
export const SCAN_BYTES_MAX = 4 * 1024 * 1024;
/** Longest lease of a snapshot that a client scans, in milliseconds. */
export const SNAPSHOT_LEASE_MS_MAX = 600_000;
/** Most keys in one batch. */
export const BATCH_KEYS_MAX = 10_000;
/** Most keyspaces that there can be at one time, and the highest number that one can have. */
export const KEYSPACES_MAX = 1024;
export const KEYSPACE_ID_MAX = 2 ** 32 - 1;
/** Text mode: most arguments of one command, and the longest inline command. */
export const RESP_ARGUMENTS_MAX = 1024 * 1024;
export const RESP_INLINE_BYTES_MAX = 64 * 1024;
/** Slots of the key space (Redis Cluster's number). */
export const SLOTS = 16_384;
/** Most shards of a cluster. */
export const SHARDS_MAX = 1024;
