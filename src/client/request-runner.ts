/**
 * Brings a request to its end: chooses the node, reads the answer, and tries again where that is safe, until the
 * deadline. What is safe:
 *
 * - a read, and the opening of a session: always;
 * - a write that was never sent, or whose error says that nothing was done: always;
 * - a write of which nobody knows what became (the connection broke, or the node gave up waiting): only under a session
 *   stamp, and then with the same stamp, so that the shard does it once.
 *
 * Every call is in the list of deadlines from its start to its end, so each promise settles, whatever the network does.
 */
import { ERRORS, type ErrorName, type ProtocolError } from "../../protocol/errors.ts";
import { shardId } from "../../protocol/ids.ts";
import { SLOTS } from "../../protocol/limits.ts";
import type { ClientResponse, ErrorResponse, Topology } from "../../protocol/messages.ts";
import { shardOfSlot } from "../../protocol/slots.ts";
import type { Env } from "../env/env.ts";
import { SESSION, SHARDED_TOPOLOGY } from "./answers.ts";
import { type Answer, Call, type Outgoing, type Route } from "./call.ts";
import { type ConnectionOwner, NodeConnection } from "./connection.ts";
import { Deadlines } from "./deadlines.ts";
import { describeRequest, FlotillaError, type Outcome, outcomeInWords } from "./errors.ts";
import { ReplicaChoice, type ReplicaState } from "./replica-choice.ts";
import { type SessionOwner, ShardSession } from "./session.ts";
import { TopologyCache } from "./topology-cache.ts";

/** What of the outside world a client needs. */
export type ClientEnv = Pick<Env, "clock" | "transport" | "random">;

/** How well a client finds its way. */
export interface ClientCounts {
  /** Requests on a key, or a shard, since the client was opened. */
  readonly requests: number;
  /** Those of them that a node did not serve, but said who does. */
  readonly redirected: number;
}

/** All limits of a client. Times are in milliseconds. */
export interface RunnerOptions {
  readonly addresses: readonly string[];
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly quietMs: number;
  readonly silenceMs: number;
  readonly sessions: boolean;
  readonly sessionWindow: number;
}

const BACKOFF_FIRST_MS = 5;
const BACKOFF_MAX_MS = 250;
/** A hint may be as old as the knowledge it corrects; after this many in a row the client waits before it follows more. */
const REDIRECTS_AT_ONCE = 3;
/** While things are changing every failure asks for the topology: it is fetched no more often than this. */
const REFRESH_EVERY_MS = 50;

export class RequestRunner implements ConnectionOwner, SessionOwner {
  readonly #env: ClientEnv;
  readonly #options: RunnerOptions;
  readonly #topology: TopologyCache;
  readonly #connections = new Map<string, NodeConnection>();
  readonly #deadlines: Deadlines<Call>;
  #sessions: (ShardSession | undefined)[] = [];
  /** The requests for sessions that are under way: what is wrong with them is wrong with the writes that wait. */
  readonly #openings = new Map<ShardSession, Call>();
  #refreshing: Promise<void> | undefined;
  /** The node that sends the topology whenever it changes. One is enough: what it does not know, redirects tell. */
  #subscribedAt: string | undefined;
  #refreshedMs = Number.NEGATIVE_INFINITY;
  #closed = false;
  readonly #replicaChoice = new ReplicaChoice();
  #routed = 0;
  #misrouted = 0;

  constructor(options: RunnerOptions, env: ClientEnv) {
    this.#options = options;
    this.#env = env;
    this.#topology = new TopologyCache(options.addresses, env.random.below(options.addresses.length));
    this.#deadlines = new Deadlines<Call>(env.clock, (call) => this.#expire(call));
  }

  /** The number of shards; 0 before the first topology. */
  get shards(): number {
    return this.#topology.shards;
  }

  get counts(): ClientCounts {
    return { requests: this.#routed, redirected: this.#misrouted };
  }

  nowMs(): number {
    return this.#env.clock.nowMs();
  }

  /** A number that nobody else draws, as good as surely. */
  drawToken(): number {
    const { random } = this.#env;
    return random.below(2 ** 21) * 2 ** 32 + random.below(2 ** 32);
  }

  /** Starts a request; the promise rejects with a `FlotillaError`. `slot` of the route needs a topology. */
  run<T>(request: Outgoing, answer: Answer<T>, route: Route): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#start(new Call(request, answer, route, resolve as (value: unknown) => void, reject));
    });
  }

  /**
   * Fetches the topology, or joins the fetch that is under way. Rejects when no node answers in time, or all that do say
   * that the cluster has no shards yet.
   */
  refresh(): Promise<void> {
    const known = this.#topology.view;
    const request = { kind: "topology", known, subscribe: this.#subscribedAt === undefined } as const;
    this.#refreshing ??= this.run(request, SHARDED_TOPOLOGY, "any")
      .then((topology) => this.#learn(topology))
      .finally(() => {
        this.#refreshing = undefined;
        this.#refreshedMs = this.#env.clock.nowMs();
      });
    return this.#refreshing;
  }

  /** Ends everything: what is under way fails. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (let call = this.#deadlines.takeFirst(); call !== undefined; call = this.#deadlines.takeFirst()) {
      call.problem = "the client was closed";
      this.#giveUp(call);
    }
    this.#deadlines.stop();
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  // What a connection tells.

  answered(call: Call, response: ClientResponse): void {
    const { address } = call.connection!;
    call.connection = undefined;
    if (call.request.kind === "topology" && call.request.subscribe) this.#subscribed(response, address);
    if (call.answer === SHARDED_TOPOLOGY && isUnfounded(response)) {
      call.problemCode = "UNAVAILABLE";
      call.problem = `${address} says that the cluster is being founded, and has no shards yet`;
      this.#retryLater(call);
    } else if (response.kind === call.answer.kind) {
      this.#settle(call);
      call.resolve(call.answer.pick(response));
    } else if (response.kind === "unchanged" && call.request.kind === "topology") {
      this.#settle(call);
      call.resolve(undefined);
    } else if (response.kind === "error") {
      this.#refused(call, response, address);
    } else {
      call.problem = `${address} answered with "${response.kind}", which is no answer to it`;
      call.mayHaveHappened = call.isWrite;
      this.#fail(call, "INTERNAL");
    }
  }

  pushed(response: ClientResponse, address: string): void {
    if (response.kind !== "topology" || address !== this.#subscribedAt || isUnfounded(response)) return;
    this.#learn(response.topology);
  }

  unreachable(address: string): void {
    this.#topology.forgetNode(address);
    if (this.#subscribedAt === address) this.#subscribedAt = undefined;
    this.#refreshSoon();
  }

  quiet(call: Call, address: string): void {
    if (call.settled || call.isWrite || call.address !== undefined) return;
    const others = this.#topology.addresses.some((other) => other !== address && this.#isUsable(other));
    if (!others) return;
    // A silent node leads nothing, as far as reads are concerned; the others know better soon.
    if (call.slot >= 0) this.#topology.forgetLeader(this.#shardOf(call), address);
    call.problemCode = "TIMEOUT";
    call.problem = `nothing was heard from ${address}`;
    call.connection!.forget(call);
    this.#refreshSoon();
    this.#dispatch(call);
  }

  unsendable(call: Call, error: ProtocolError): void {
    call.problem = error.message;
    this.#fail(call, error.error);
  }

  undelivered(call: Call, address: string, sent: boolean, error: Error): void {
    call.connection = undefined;
    call.problemCode = sent ? "TIMEOUT" : "UNAVAILABLE";
    call.problem = sent ? `the connection to ${address} was lost (${error.message})` : error.message;
    if (sent && call.isWrite) call.mayHaveHappened = true;
    if (call.address !== undefined || !this.#mayRetry(call)) this.#fail(call, call.problemCode);
    else this.#retryLater(call);
  }

  #subscribed(response: ClientResponse, address: string): void {
    if (response.kind === "topology" || response.kind === "unchanged") this.#subscribedAt = address;
  }

  #learn(topology: Topology | undefined): void {
    // Stamps of one cluster mean nothing to another.
    if (topology === undefined) return;
    if (this.#topology.replace(topology)) this.#sessions = [];
    this.#leaveStrangers();
  }

  /** Closes the connections to nodes that have left the cluster and owe nothing. */
  #leaveStrangers(): void {
    const { addresses } = this.#topology;
    for (const [address, connection] of this.#connections) {
      if (connection.waiting > 0 || addresses.includes(address)) continue;
      connection.close();
      this.#connections.delete(address);
      if (this.#subscribedAt === address) this.#subscribedAt = undefined;
    }
  }

  // What a session asks.

  openSession(session: ShardSession): void {
    const slot = Math.ceil((session.shard * SLOTS) / this.#topology.shards);
    const request = { kind: "openSession", shard: shardId(session.shard) } as const;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const opening = new Call(request, SESSION, { slot }, resolve as (value: unknown) => void, reject);
    this.#openings.set(session, opening);
    this.#start(opening);
    promise
      .finally(() => this.#openings.delete(session))
      .then(
        (id) => session.opened(id),
        (error: FlotillaError) => {
          for (const call of session.failed()) {
            if (call.settled) continue;
            call.problem = error.message;
            this.#fail(call, error.code);
          }
        },
      );
  }

  admitted(call: Call): void {
    this.#dispatch(call);
  }

  #start(call: Call): void {
    if (this.#closed) {
      call.problem = "the client is closed";
      call.reject(this.#error(call, "UNAVAILABLE"));
      return;
    }
    if (call.slot >= 0) this.#routed++;
    call.deadlineMs = this.#env.clock.nowMs() + this.#options.requestTimeoutMs;
    this.#deadlines.add(call);
    this.#admit(call);
  }

  #admit(call: Call): void {
    if (call.isWrite && this.#options.sessions && !this.#sessionFor(call).admit(call)) return;
    this.#dispatch(call);
  }

  #sessionFor(call: Call): ShardSession {
    const shard = this.#shardOf(call);
    this.#sessions[shard] ??= new ShardSession(shard, this.#options.sessionWindow, this);
    return this.#sessions[shard];
  }

  #shardOf(call: Call): number {
    return shardOfSlot(call.slot, this.#topology.shards);
  }

  #dispatch(call: Call): void {
    call.attempts++;
    this.#connectionTo(this.#target(call)).send(call);
  }

  #target(call: Call): string {
    if (call.address !== undefined) return call.address;
    if (call.slot >= 0) {
      const shard = this.#shardOf(call);
      const isStale = "consistency" in call.request && call.request.consistency === "stale";
      // Any replica may serve a stale read, until one says that it is none.
      const address =
        isStale && call.redirects === 0
          ? this.#replicaChoice.choose(this.#topology.replicasOf(shard), this.#stateOf)
          : this.#topology.leaderOf(shard);
      if (address !== undefined) return address;
    }
    return this.#topology.nextAddress(this.#isUsable);
  }

  readonly #stateOf = (address: string): ReplicaState | undefined => this.#connections.get(address);

  readonly #isUsable = (address: string): boolean => this.#connections.get(address)?.isDown !== true;

  #connectionTo(address: string): NodeConnection {
    let connection = this.#connections.get(address);
    if (connection === undefined) {
      connection = new NodeConnection(address, this.#options, this.#env, this);
      this.#connections.set(address, connection);
    }
    return connection;
  }

  #refused(call: Call, response: ErrorResponse, address: string): void {
    const { error } = response;
    const facts = ERRORS[error];
    call.problemCode = error;
    call.problem = `${address} says ${error}: ${response.message}`;
    if (error === "NOT_LEADER") {
      this.#redirected(call, address, response.leader?.address);
      return;
    }
    if (error === "SESSION_EXPIRED" && call.session !== undefined && !call.mayHaveHappened) {
      // Nothing of this write has been done: it starts anew under the next session.
      if ("stamp" in call.request) call.session.expired(call.request.stamp.session);
      // The next one may be lost too, where more clients write than the shard has sessions for: each that is opened at
      // once would take somebody else's away.
      if (call.attempts === 1) this.#admit(call);
      else this.#retryLater(call, this.#admitAgain);
      return;
    }
    if (facts.outcome === "unknown" && call.isWrite) call.mayHaveHappened = true;
    if (!facts.retryable || !this.#mayRetry(call)) {
      this.#fail(call, error);
      return;
    }
    if (error !== "OVERLOADED" && error !== "READ_ONLY") this.#refreshSoon();
    this.#retryLater(call);
  }

  #redirected(call: Call, from: string, to: string | undefined): void {
    if (call.address !== undefined) {
      this.#fail(call, "NOT_LEADER");
      return;
    }
    if (call.redirects++ === 0) this.#misrouted++;
    if (call.slot >= 0 && to !== undefined && to !== from) {
      this.#topology.learnLeader(this.#shardOf(call), to);
      if (call.redirects <= REDIRECTS_AT_ONCE) {
        this.#dispatch(call);
        return;
      }
    } else if (call.slot >= 0) {
      this.#topology.forgetLeader(this.#shardOf(call), from);
    }
    this.#refreshSoon();
    this.#retryLater(call);
  }

  #mayRetry(call: Call): boolean {
    return !call.mayHaveHappened || call.session !== undefined;
  }

  /** Waits a little, longer each time, with jitter so that the clients of a lost node do not all come back at once. */
  #retryLater(call: Call, retry = this.#dispatchAgain): void {
    const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(call.attempts, 10));
    const delayMs = ceilingMs * (0.5 + 0.5 * this.#env.random.float());
    call.backoff = this.#env.clock.timer(delayMs, () => {
      call.backoff = undefined;
      retry(call);
    });
  }

  readonly #dispatchAgain = (call: Call): void => this.#dispatch(call);

  readonly #admitAgain = (call: Call): void => this.#admit(call);

  #refreshSoon(): void {
    if (this.#closed || this.shards === 0) return;
    if (this.#env.clock.nowMs() - this.#refreshedMs < REFRESH_EVERY_MS) return;
    // Nobody waits for it: the calls that need it try again by themselves, and tell their callers.
    this.refresh().catch(() => undefined);
  }

  #expire(call: Call): void {
    const { problem, problemCode } = this.#lastProblem(call);
    call.problem = problem;
    call.problemCode = problemCode;
    this.#giveUp(call);
  }

  /** What a call that has run out of time was waiting for. */
  #lastProblem(call: Call): Pick<Call, "problem" | "problemCode"> {
    const { connection } = call;
    if (connection?.has(call)) {
      // What the attempts before it were told says more than that the last one was not answered.
      const before = call.problem === "" ? "" : ` (before that: ${call.problem})`;
      return { problem: `${connection.address} did not answer in time${before}`, problemCode: "TIMEOUT" };
    }
    if (connection !== undefined) {
      const problem = `there was no connection to ${connection.address} in time`;
      return { problem, problemCode: "UNAVAILABLE" };
    }
    const opening =
      call.attempts === 0 && call.session !== undefined ? this.#openings.get(call.session) : undefined;
    if (opening === undefined) return call;
    const { problem, problemCode } = this.#lastProblem(opening);
    return { problem: failureOf(opening, problem), problemCode };
  }

  /** Ends a call that is out of the list of deadlines already. */
  #giveUp(call: Call): void {
    if (call.connection?.has(call)) {
      call.connection.forget(call);
      if (call.isWrite) call.mayHaveHappened = true;
    }
    this.#finish(call);
    call.reject(this.#error(call, call.mayHaveHappened ? "TIMEOUT" : call.problemCode));
  }

  #fail(call: Call, code: ErrorName): void {
    this.#settle(call);
    call.reject(this.#error(call, code));
  }

  #settle(call: Call): void {
    this.#deadlines.remove(call);
    this.#finish(call);
  }

  #finish(call: Call): void {
    call.settled = true;
    call.connection = undefined;
    if (call.backoff !== undefined) call.backoff.cancel();
    if (call.session !== undefined) call.session.finished(call);
  }

  #error(call: Call, code: ErrorName): FlotillaError {
    // A stamped retry is answered with the result of the one execution, so that result holds for all attempts.
    const outcome: Outcome = call.mayHaveHappened && code !== "NOT_AN_INTEGER" ? "unknown" : "notDone";
    const consequence = call.isWrite ? `; ${outcomeInWords(outcome)}` : "";
    return new FlotillaError(code, `${failureOf(call, call.problem)}${consequence}`, outcome);
  }
}

/** Whether it is the topology of a cluster that has no shards yet: what a key's request would do with it, nobody can say. */
function isUnfounded(response: ClientResponse): boolean {
  return response.kind === "topology" && response.topology.shards.length === 0;
}

/** A call's failure in a sentence: what was asked, how often, and why it failed. */
function failureOf({ request, attempts }: Call, problem: string): string {
  const tries = attempts === 0 ? "" : ` after ${attempts} attempt${attempts === 1 ? "" : "s"}`;
  return `${describeRequest(request)} failed${tries}: ${problem === "" ? "no node was asked yet" : problem}`;
}
