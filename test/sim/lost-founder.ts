import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { SimulatedFaults } from "./faults.ts";
import type { SimulatedMachine } from "./machine.ts";

export interface LostFounderParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly founders: readonly SimulatedMachine[];
  readonly faults: Pick<SimulatedFaults, "takeAway" | "bringBack" | "cutOff" | "wipe">;
}

/** Long enough for a majority of the founders to elect somebody, and to write something, if they would. */
const WITHOUT_MS = 1500;
/** Longest time until a disk is lost where it is lost while founders write down whom they have met. */
const NOTING_MS_MAX = 600;
/** Long enough for an election by those who have not met the rest. */
const MEETING_MS = 2500;
/** Longest wait for the disk to be replaced. */
const REPLACED_MS_MAX = 300;

/**
 * A minority of the founders starts late, or is not reached by anybody. One of the others loses its disk, and meets the late
 * ones with an empty one, while those who knew it are away or can't be reached. In two majorities of such a cluster the
 * only one in common would be the one that has forgotten what it promised in the first: nobody may serve in either, as
 * not all founders have met. To be begun when the machines have just been started.
 */
export async function loseFounder({ clock, random, founders, faults }: LostFounderParts): Promise<void> {
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => clock.timer(ms, resolve));
  const lateCount = Math.floor((founders.length - 1) / 2);
  if (lateCount === 0) return;
  const first = random.below(founders.length);
  const lost = founders[first]!;
  const following = [...founders.slice(first + 1), ...founders.slice(0, first)];
  const others = random.below(2) === 0 ? following : following.toReversed();
  const late = others.slice(0, lateCount);
  const known = others.slice(lateCount);
  const isSoon = random.below(4) === 0;
  const withoutMs = isSoon ? random.float() * NOTING_MS_MAX : WITHOUT_MS * (1 + random.float());
  const absent = random.below(2) === 0 ? late.filter((machine) => faults.takeAway(machine)) : [];
  faults.cutOff(late, withoutMs);
  await sleep(withoutMs);

  if (!faults.wipe(lost)) return;
  const meetingMs = MEETING_MS * (1 + random.float());
  for (const machine of absent) faults.bringBack(machine);
  // What is only cut off goes on with what it knows; who is away begins anew with what it wrote down.
  const away = random.below(2) === 0 ? known.filter((machine) => faults.takeAway(machine)) : [];
  faults.cutOff(known, meetingMs);
  await sleep(random.float() * REPLACED_MS_MAX);
  faults.bringBack(lost);
  await sleep(meetingMs);
  for (const machine of away) faults.bringBack(machine);
}
