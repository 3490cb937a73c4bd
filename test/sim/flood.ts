/**
 * Somebody wants far more of a node than there is room for: writes with long values, and reads, by the hundred at a time,
 * whatever was answered. None of it changes anything, so that the history of the clients has not to know of it. What there is
 * no room for has to be refused with an error that is worth a retry, and no queue of any node may grow beyond its bound.
 */
import { ERRORS } from "../../protocol/errors.ts";
import { type ClientRequest, NO_SESSION } from "../../protocol/messages.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { Answer, SimulatedMachine } from "./machine.ts";

export interface FloodParts {
  readonly clock: Pick<VirtualClock, "nowMs">;
  /** Does something later, unless all is well by then. */
  readonly after: (delayMs: number, action: () => void) => void;
  /** Who is asked. */
  readonly machine: SimulatedMachine;
  /** All that there are, of which some are asked by that one. */
  readonly machines: readonly SimulatedMachine[];
  readonly random: Random;
  /** For how long there are waves. */
  readonly lastingMs: number;
  readonly tell: (event: string) => void;
}

/** Keys that nobody has. */
const KEYS = 16;
const EXPECTED_BYTES_MAX = 500;

/** Sends waves of requests until the time is over; how many of them were refused is told in the end. */
export function flood(parts: FloodParts): void {
  const { clock, after, machine, machines, random, lastingMs, tell } = parts;
  const waveSize = 20 << random.below(5);
  const pauseMs = 5 + random.below(40);
  const untilMs = clock.nowMs() + lastingMs;
  let [asked, refused, under] = [0, 0, 0];
  const wave = (): void => {
    for (let i = 0; i < waveSize; i++) {
      asked++;
      under++;
      machine.execute(request(random), "forward").then((answer) => {
        under--;
        if (isRefusal(machine, answer)) refused++;
        if (under === 0 && clock.nowMs() >= untilMs) tell(`${machine.name} refused ${refused} of ${asked}`);
      });
    }
    for (const each of machines) lookAtQueues(each);
    if (clock.nowMs() < untilMs) after(pauseMs, wave);
  };
  wave();
}

/** A write of which nothing comes, but which goes through the log with all its bytes; or a read. */
function request(random: Random): ClientRequest {
  const key = utf8(`flood${random.below(KEYS)}`);
  if (random.below(3) === 0) return { kind: "get", key, consistency: "linearizable" };
  const expected = new Uint8Array(1 + random.below(EXPECTED_BYTES_MAX));
  return { kind: "compareAndSet", stamp: NO_SESSION, key, expected, value: undefined };
}

function lookAtQueues(machine: SimulatedMachine): void {
  for (const { name, used, max } of machine.status()?.queues ?? []) {
    if (used > max)
      machine.failures.push(`${machine.name} has a queue beyond its bound: ${name}, ${used} of ${max}`);
  }
}

function isRefusal(machine: SimulatedMachine, answer: Answer): boolean {
  if (typeof answer === "string" || answer.kind !== "error") return false;
  const { error, message } = answer;
  if (!ERRORS[error].retryable) {
    machine.failures.push(
      `${machine.name} answered a flood with ${error}, which says not to try again: ${message}`,
    );
  }
  return error === "OVERLOADED";
}
