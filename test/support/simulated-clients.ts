/**
 * Clients of a simulated cluster: they ask its nodes directly, and write down what they were told. What is under way when
 * a node ends, or is not answered in time, has an unknown outcome; writes of a session are sent again, elsewhere too,
 * until somebody knows.
 */
import { ERRORS, type ErrorName } from "../../protocol/errors.ts";
import type { Routing } from "../../protocol/handler.ts";
import { type ShardId, shardId } from "../../protocol/ids.ts";
import type { ClientRequest, ClientResponse, SessionStamp } from "../../protocol/messages.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { Action, Operation } from "./history.ts";
import type { Answer, SimulatedMachine } from "./simulated-machine.ts";
import type { VirtualClock } from "./virtual-clock.ts";

export interface ClientsParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly machines: readonly SimulatedMachine[];
  readonly shards: number;
  /** A third of them are counters. */
  readonly keys: number;
}

/** How often a write of a session is sent again before its outcome is left unknown. */
const ATTEMPTS_MAX = 12;
/** Longest waits of a client: between two operations, and before it sends a write again. */
const PAUSE_MS_MAX = 40;
const RETRY_MS_MAX = 300;
/** How long a client waits for an answer at most. */
const PATIENCE_MS_MAX = 3_000;
/** Errors that no fault explains. */
const UNEXPECTED: ReadonlySet<ErrorName> = new Set([
  "INTERNAL",
  "NOT_AN_INTEGER",
  "BAD_REQUEST",
  "BAD_FRAME",
]);
const VALUE_BYTES_MAX = 200;

export class SimulatedClients {
  readonly #parts: ClientsParts;
  readonly history: Operation[] = [];
  #isStopped = false;
  #running = 0;
  #serial = 0;
  #instants = 0;
  /** What was last seen under a key, so that a compare-and-set has a chance. */
  readonly #seen = new Map<string, string | undefined>();
  /** By shard, as far as anybody said. */
  readonly #leaders = new Map<number, SimulatedMachine>();
  /** Answers that no fault explains. */
  readonly failures: string[] = [];

  constructor(parts: ClientsParts) {
    this.#parts = parts;
  }

  start(count: number): void {
    for (let number = 0; number < count; number++) {
      this.#running++;
      this.#loop(number).then(() => this.#running--);
    }
  }

  /** No client begins anything more. */
  stop(): void {
    this.#isStopped = true;
  }

  get isDone(): boolean {
    return this.#running === 0;
  }

  get keys(): string[] {
    return Array.from({ length: this.#parts.keys }, (_, number) => `key${number}`);
  }

  /** Reads a key through `machine`, as part of the history. Whether it was answered. */
  async read(machine: SimulatedMachine, key: string): Promise<boolean> {
    const invokedAt = this.#instant();
    const action: Action = { kind: "get" };
    const judged = this.#judge(action, await machine.execute(requestOf(action, key, NO_SESSION), "forward"));
    this.#record(-1, key, judged, invokedAt);
    return judged.outcome === "done";
  }

  async #loop(number: number): Promise<void> {
    const { random, clock } = this.#parts;
    const session = number % 2 === 1 ? new ClientSessions() : undefined;
    while (!this.#isStopped) {
      const key = `key${random.below(this.#parts.keys)}`;
      const action = this.#choose(key);
      if (session === undefined || action.kind === "get") await this.#once(number, key, action);
      else await this.#inSession(number, key, action, session);
      await sleep(clock, random.float() * PAUSE_MS_MAX);
    }
  }

  #choose(key: string): Action {
    const { random } = this.#parts;
    const dice = random.below(20);
    if (dice < 6) return { kind: "get" };
    if (isCounter(key)) return { kind: "increment", delta: BigInt(1 + random.below(3)) };
    if (dice < 12) return { kind: "put", value: this.#fresh() };
    if (dice < 15) return { kind: "delete" };
    const value = random.below(4) === 0 ? undefined : this.#fresh();
    return { kind: "cas", expected: this.#seen.get(key), value };
  }

  /** A value that nobody else ever writes. */
  #fresh(): string {
    return `v${this.#serial++}`.padEnd(this.#parts.random.below(VALUE_BYTES_MAX), ".");
  }

  async #once(client: number, key: string, action: Action): Promise<void> {
    const invokedAt = this.#instant();
    const answer = await this.#ask(requestOf(action, key, NO_SESSION), key);
    this.#record(client, key, this.#judge(action, answer), invokedAt);
  }

  async #inSession(client: number, key: string, action: Action, sessions: ClientSessions): Promise<void> {
    const { random, clock, shards } = this.#parts;
    const shard = shardOfSlot(slotOf(utf8(key)), shards);
    if (!sessions.has(shard)) {
      const opened = await this.#ask({ kind: "openSession", shard: shardId(shard) }, key);
      if (typeof opened === "string" || opened.kind !== "integer") return;
      sessions.open(shard, Number(opened.value));
    }
    const request = requestOf(action, key, sessions.next(shard));
    const invokedAt = this.#instant();
    let outcome: Operation["outcome"] = "failed";
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (attempt > 0) await sleep(clock, random.float() * RETRY_MS_MAX);
      const answer = await this.#ask(request, key);
      const judged = this.#judge(action, answer);
      if (judged.outcome === "done") {
        this.#record(client, key, judged, invokedAt);
        return;
      }
      if (judged.outcome === "unknown") outcome = "unknown";
      if (typeof answer !== "string" && answer.kind === "error" && answer.error === "SESSION_EXPIRED") break;
    }
    this.#record(client, key, { action, outcome }, invokedAt);
    sessions.forget(shard);
  }

  /** Asks one node, mostly the one that was last said to lead, and waits for a while. */
  async #ask(request: ClientRequest, key: string): Promise<Answer> {
    const { random, clock, machines, shards } = this.#parts;
    const shard = shardOfSlot(slotOf(utf8(key)), shards);
    const hinted = random.below(4) > 0 ? this.#leaders.get(shard) : undefined;
    const machine = hinted ?? machines[random.below(machines.length)]!;
    const routing: Routing = random.below(2) === 0 ? "forward" : "redirect";
    const patienceMs = random.float() * (random.below(8) === 0 ? 20 : PATIENCE_MS_MAX);
    const answer = await Promise.race([
      machine.execute(request, routing),
      sleep(clock, patienceMs).then(() => "lost" as const),
    ]);
    if (typeof answer === "string" || answer.kind === "error") {
      const hint = typeof answer === "string" ? undefined : answer.leader?.node;
      const leader = machines.find(({ name }) => name === hint);
      if (leader === undefined) this.#leaders.delete(shard);
      else this.#leaders.set(shard, leader);
    }
    return answer;
  }

  #judge(action: Action, answer: Answer): Judged {
    if (answer === "lost") return { action, outcome: "unknown" };
    if (answer === "refused") return { action, outcome: "failed" };
    if (answer.kind === "error") {
      if (UNEXPECTED.has(answer.error)) {
        this.failures.push(`a ${action.kind} was answered with ${answer.error}: ${answer.message}`);
      }
      return { action, outcome: ERRORS[answer.error].outcome === "unknown" ? "unknown" : "failed" };
    }
    const done = doneAction(action, answer);
    if (done !== undefined) return { action: done, outcome: "done" };
    this.failures.push(`a ${action.kind} was answered with a ${answer.kind}`);
    return { action, outcome: "unknown" };
  }

  #record(client: number, key: string, { action, outcome }: Judged, invokedAt: number): void {
    this.history.push({ client, key, action, outcome, invokedAt, returnedAt: this.#instant() });
    if (outcome !== "done") return;
    if (action.kind === "get") this.#seen.set(key, action.result);
    if (action.kind === "put") this.#seen.set(key, action.value);
  }

  /** The time; later than any that was given out before. */
  #instant(): number {
    return this.#parts.clock.nowMs() + ++this.#instants * 1e-6;
  }
}

interface Judged {
  readonly action: Action;
  readonly outcome: Operation["outcome"];
}

/** The sessions that one client has, by shard. It has one write under way, but earlier copies of it may be, too. */
class ClientSessions {
  readonly #open = new Map<number, { readonly session: number; sequence: number }>();

  has(shard: ShardId): boolean {
    return this.#open.has(shard);
  }

  open(shard: ShardId, session: number): void {
    this.#open.set(shard, { session, sequence: 0 });
  }

  /** The stamp of the next write; everything before it was answered. */
  next(shard: ShardId): SessionStamp {
    const state = this.#open.get(shard)!;
    state.sequence++;
    return { session: state.session, sequence: state.sequence, acknowledgedBelow: state.sequence };
  }

  forget(shard: ShardId): void {
    this.#open.delete(shard);
  }
}

function isCounter(key: string): boolean {
  return Number(key.slice("key".length)) % 3 === 0;
}

function requestOf(action: Action, key: string, stamp: SessionStamp): ClientRequest {
  const name = utf8(key);
  switch (action.kind) {
    case "get":
      return { kind: "get", key: name, consistency: "linearizable" };
    case "put":
      return { kind: "put", stamp, key: name, value: utf8(action.value), condition: "always" };
    case "delete":
      return { kind: "delete", stamp, key: name };
    case "increment":
      return { kind: "increment", stamp, key: name, delta: action.delta };
    case "cas": {
      const expected = action.expected === undefined ? undefined : utf8(action.expected);
      const value = action.value === undefined ? undefined : utf8(action.value);
      return { kind: "compareAndSet", stamp, key: name, expected, value };
    }
  }
}

/** The action with the result that was answered; `undefined` if that is no answer to it. */
function doneAction(action: Action, answer: ClientResponse): Action | undefined {
  switch (action.kind) {
    case "get":
      if (answer.kind !== "value") return undefined;
      return { kind: "get", result: answer.value === undefined ? undefined : fromUtf8(answer.value) };
    case "increment":
      return answer.kind === "integer" ? { ...action, result: answer.value } : undefined;
    case "put":
      return answer.kind === "boolean" && answer.value ? action : undefined;
    default:
      return answer.kind === "boolean" ? { ...action, result: answer.value } : undefined;
  }
}

function sleep(clock: VirtualClock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.timer(delayMs, resolve));
}
