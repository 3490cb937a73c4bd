/** The times of `timings.ts` as flags, for all commands that start nodes. */
import type { Command } from "commander";
import { DEFAULT_TIMING_OPTIONS, faultOfTimings, TIMING_FLAGS, type TimingOptions } from "../timings.ts";
import { Stop, wholeNumber } from "./command-line.ts";

export type TimingKey = keyof TimingOptions;

export function addTimingFlags(command: Command): Command {
  return command
    .option("--tick-ms <ms>", timingHelp("what the next three are counted in", "tickMs"))
    .option(
      "--heartbeat-ms <ms>",
      timingHelp("how often a leader with nothing to say is heard", "heartbeatMs"),
    )
    .option(
      "--election-timeout-ms <ms>",
      timingHelp("who hears no leader for so long, up to twice, wants to lead", "electionTimeoutMs"),
    )
    .option(
      "--idle-ms <ms>",
      timingHelp("a group in which nothing happens for so long falls asleep", "idleMs"),
    )
    .option(
      "--lost-after-ms <ms>",
      timingHelp("what a node that is silent for so long holds is made elsewhere", "lostAfterMs"),
    )
    .option(
      "--request-timeout-ms <ms>",
      timingHelp("how long a request may wait inside of a node", "requestTimeoutMs"),
    )
    .option(
      "--lease-drift-percent <percent>",
      timingHelp(
        "no clock runs faster or slower than time by more: reads may ask for leases",
        "leaseDriftPercent",
      ),
    );
}

function timingHelp(what: string, key: TimingKey): string {
  return `${what} (default: ${DEFAULT_TIMING_OPTIONS[key]})`;
}

/** What the flags say; `get` gives the text of one, `name` is what to call it. Throws `Stop`. */
export function timingOptions(
  get: (key: TimingKey) => string | undefined,
  name: (key: TimingKey) => string,
): TimingOptions {
  const timings: Record<TimingKey, number> = { ...DEFAULT_TIMING_OPTIONS };
  for (const key of Object.keys(TIMING_FLAGS) as TimingKey[]) {
    const text = get(key);
    if (text === undefined) continue;
    const value = wholeNumber(text);
    if (value === undefined) {
      const unit = key === "leaseDriftPercent" ? "percent, without a sign" : "milliseconds";
      throw new Stop(`${name(key)} must be a whole number of ${unit}, found "${text}"`);
    }
    timings[key] = value;
  }
  const fault = faultOfTimings(timings);
  if (fault !== undefined) throw new Stop(fault);
  return timings;
}

/** The flags that say these times again. */
export function timingArguments(timings: TimingOptions): string[] {
  return (Object.keys(TIMING_FLAGS) as TimingKey[])
    .filter((key) => timings[key] !== DEFAULT_TIMING_OPTIONS[key])
    .flatMap((key) => [`--${TIMING_FLAGS[key]}`, String(timings[key])]);
}
