/**
 * "All keys from `start` on and below `end` were deleted at `sequence`": one entry that hides any number of others, those
 * in its range with a lower sequence number.
 */
export interface RangeTombstone {
  /** Included. */
  readonly start: Uint8Array;
  /** Excluded; above `start`. */
  readonly end: Uint8Array;
  readonly sequence: number;
}
