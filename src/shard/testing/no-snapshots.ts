import type { ReadingSnapshots } from "../reading-snapshots.ts";

/** For readers of which no snapshots are asked. */
export const NO_SNAPSHOTS: Pick<ReadingSnapshots, "open"> = {
  open: () => {
    throw new Error("no snapshots are made here");
  },
};
