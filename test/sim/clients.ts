/**
 * Clients of a simulated cluster: they ask its nodes directly, and write down what they were told. What is under way when
 * a node ends, or is not answered in time, has an unknown outcome; writes of a session are sent again, elsewhere too,
 * until somebody knows.
 */
import { ERRORS, type ErrorName } from "../../protocol/errors.ts";
import type { Routing } from "../../protocol/handler.ts";
import { type KeyspaceId, type ShardId, shardId } from "../../protocol/ids.ts";
import type {
  ClientRequest,
  ClientResponse,
  Get,
  InKeyspace,
  SessionStamp,
} from "../../protocol/messages.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { Action, Operation } from "../support/history.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { ExpiryChecks } from "./expiry-checks.ts";
import { allKeys, isCounter, isOther, isRow, keyspaceOf, nameOf, ROW_PARTS, shardOf } from "./keys.ts";
import type { SimulatedKeyspaces } from "./keyspaces.ts";
import type { Answer, SimulatedMachine } from "./machine.ts";
import type { StateChecks } from "./state-checks.ts";
import { TextClient } from "./text-client.ts";
import type { WireClient } from "./wire-client.ts";

export interface ClientsParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly machines: readonly SimulatedMachine[];
  readonly shards: number;
  /** A third of them are counters. */
  readonly keys: number;
  /** Rows: keys of one shard that are written by batches only, so that all of them always have one value. */
  readonly rows: number;
  readonly valueBytesMax: number;
  /** How many operations are begun at most. */
  readonly operationsMax: number;
  readonly keyspaces: Pick<SimulatedKeyspaces, "other">;
  /** A client that has connections of its own; `undefined` for one that asks nodes directly. */
  readonly wireClient: (number: number) => WireClient | TextClient | undefined;
  /** Hears which linearizable reads were answered by whom. */
  readonly checks: Pick<StateChecks, "commitOf" | "answeredRead" | "openedSession">;
  readonly expiry: Pick<ExpiryChecks, "goneOf" | "clocksAgree">;
  /** Hears of each operation that is over. */
  readonly observe: (operation: Operation) => void;
}

const SCAN_LIMIT = 1000;

/** About how many writes of a session succeed before its client begins another one. */
const SESSION_LENGTH = 4;
/** One client in so many that open a session opens so many at once, and a quarter of them within so many milliseconds. */
const BURST_CHANCE = 12;
const BURST = 80;
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
  "NO_KEYSPACE",
]);
/** Longest time to live of what has one. */
const TTL_MS_MAX = 2_000;

export class SimulatedClients {
  readonly #parts: ClientsParts;
  readonly history: Operation[] = [];
  readonly #allKeys: readonly string[];
  /** By key: every value that somebody tried to write. */
  readonly #attempted = new Map<string, Set<string>>();
  #isStopped = false;
  #running = 0;
  #serial = 0;
  #begun = 0;
  #instants = 0;
  /** What was last seen under a key, so that a compare-and-set has a chance. */
  readonly #seen = new Map<string, string | undefined>();
  /** By shard, as far as anybody said. */
  readonly #leaders = new Map<number, SimulatedMachine>();
  /** Answers that no fault explains. */
  readonly failures: string[] = [];

  constructor(parts: ClientsParts) {
    this.#parts = parts;
    this.#allKeys = allKeys(parts.keys, parts.rows);
  }

  start(count: number): void {
    for (let number = 0; number < count; number++) {
      this.#running++;
      const wire = this.#parts.wireClient(number);
      const loop = wire === undefined ? this.#loop(number) : this.#loopOverWire(number, wire);
      loop.then(() => this.#running--);
    }
  }

  /** No client begins anything more. */
  stop(): void {
    this.#isStopped = true;
  }

  get isDone(): boolean {
    return this.#running === 0;
  }

  /** The history's keys: those of the second keyspace once there is one. */
  get keys(): readonly string[] {
    return this.#other === undefined ? this.#allKeys.filter((key) => !isOther(key)) : this.#allKeys;
  }

  get #other(): KeyspaceId | undefined {
    return this.#parts.keyspaces.other;
  }

  /** Reads a key through `machine`, as part of the history. Whether it was answered. */
  async read(machine: SimulatedMachine, key: string): Promise<boolean> {
    const invokedAt = this.#instant();
    const action: Action = { kind: "get" };
    const request = this.#inKeyspace(key, requestOf(action, key, NO_SESSION, ROW_PARTS[0]));
    const judged = this.#judge(action, await machine.execute(request, "forward"));
    this.#record(-1, key, judged, invokedAt);
    return judged.outcome === "done";
  }

  async #loop(number: number): Promise<void> {
    const { random, clock, operationsMax } = this.#parts;
    const session = number % 2 === 1 ? new ClientSessions() : undefined;
    while (!this.#isStopped && this.#begun < operationsMax) {
      this.#begun++;
      const { keys } = this;
      const key = keys[random.below(keys.length)]!;
      const dice = random.below(20);
      if (dice < 2) await this.#scan(number);
      else if (dice === 2) await this.#readStale(key);
      else {
        const action = this.#choose(key);
        if (session === undefined || action.kind === "get") await this.#once(number, key, action);
        else await this.#inSession(number, key, action, session);
      }
      await sleep(clock, random.float() * PAUSE_MS_MAX);
    }
  }

  /** A client with connections of its own. It knows the default keyspace only. */
  async #loopOverWire(number: number, wire: WireClient | TextClient): Promise<void> {
    const { random, clock, operationsMax } = this.#parts;
    const keys = this.#allKeys.filter((key) => !isOther(key));
    while (!this.#isStopped && this.#begun < operationsMax) {
      this.#begun++;
      const key = keys[random.below(keys.length)]!;
      const isText = wire instanceof TextClient;
      const action = this.#choose(key);
      if (isText && !wire.canDo(key, action)) continue;
      if (!isText && random.below(12) === 0) await this.#scanOverWire(number, wire, key, keys);
      else {
        const invokedAt = this.#instant();
        const told = await wire.act(key, action);
        if (told.outcome !== "done") this.#noteError(told.action, told.error, told.message);
        this.#record(number, key, told, invokedAt);
      }
      await sleep(clock, random.float() * PAUSE_MS_MAX);
    }
    wire.close();
  }

  async #scanOverWire(
    client: number,
    wire: WireClient,
    first: string,
    keys: readonly string[],
  ): Promise<void> {
    const start = nameOf(first);
    const invokedAt = this.#instant();
    const isSnapshot = this.#parts.random.below(2) === 0;
    const found = await wire.scan(start, isSnapshot);
    if (found === undefined) return;
    for (const key of keys) {
      const names = (isRow(key) ? ROW_PARTS.map((part) => nameOf(key, part)) : [nameOf(key)]).filter(
        (name) => name >= start,
      );
      const values = names.map((name) => found.get(name));
      if (isSnapshot && values.some((value) => value !== values[0])) {
        this.failures.push(`a snapshot has half of a batch: ${names.join()} are ${values.join()}`);
      }
      for (const result of new Set(values)) {
        this.#record(client, key, { action: { kind: "get", result }, outcome: "done" }, invokedAt);
      }
    }
  }

  #choose(key: string): Action {
    const { random } = this.#parts;
    const dice = random.below(20);
    if (dice < 6) return { kind: "get" };
    if (isRow(key)) return { kind: "put", value: this.#fresh(key) };
    if (isCounter(key)) return { kind: "increment", delta: BigInt(1 + random.below(3)) };
    if (dice < 10) return { kind: "put", value: this.#fresh(key) };
    if (dice < 12) {
      const ttlMs = random.below(3) === 0 ? undefined : 1 + random.below(TTL_MS_MAX);
      return { kind: "put", value: this.#fresh(key), expiry: ttlMs ?? "keep" };
    }
    if (dice < 15) return { kind: "delete" };
    const value = random.below(4) === 0 ? undefined : this.#fresh(key);
    return { kind: "cas", expected: this.#seen.get(key), value };
  }

  /** A value that nobody else ever writes. */
  #fresh(key: string): string {
    const value = `v${this.#serial++}`.padEnd(this.#parts.random.below(this.#parts.valueBytesMax), ".");
    const attempted = this.#attempted.get(key) ?? new Set();
    this.#attempted.set(key, attempted.add(value));
    return value;
  }

  /** Reads a range, of one shard or of all: a read of each key in it, all at some instant until the answer. */
  async #scan(client: number): Promise<void> {
    const { random, shards } = this.#parts;
    const shard = random.below(2) === 0 ? undefined : random.below(shards);
    const { keys } = this;
    const bounds = [keys[random.below(keys.length)]!, keys[random.below(keys.length)]!];
    // Whether it is the first keyspace or the second one.
    const wantsOther = isOther(bounds[0]!);
    const keyspace = keyspaceOf(bounds[0]!, this.#other);
    const [start, end] = bounds.map((key) => nameOf(key)).sort() as [string, string];
    const invokedAt = this.#instant();
    const request: ClientRequest = {
      kind: "scan",
      start: utf8(start),
      end: random.below(2) === 0 ? undefined : utf8(end),
      limit: SCAN_LIMIT,
      keysOnly: false,
      consistency: random.below(2) === 0 ? "linearizable" : "lease",
      shard: shard === undefined ? undefined : shardId(shard),
      keyspace,
    };
    const answer = await this.#ask(request, shard ?? 0);
    if (typeof answer === "string" || answer.kind !== "entries") {
      this.#judge({ kind: "get" }, answer);
      return;
    }
    const found = new Map(answer.entries.map(({ key, value }) => [fromUtf8(key), fromUtf8(value)]));
    for (const key of keys) {
      if (isOther(key) !== wantsOther || (shard !== undefined && shardOf(key, shards) !== shard)) continue;
      const isInside = (name: string) => name >= start && (request.end === undefined || name < end);
      const names = isRow(key) ? ROW_PARTS.map((part) => nameOf(key, part)) : [nameOf(key)];
      const values = names.filter(isInside).map((name) => found.get(name));
      if (values.length === 0) continue;
      if (values.some((value) => value !== values[0])) {
        this.failures.push(`a scan found half of a batch: ${names.join()} are ${values.join()}`);
      }
      this.#record(client, key, { action: { kind: "get", result: values[0] }, outcome: "done" }, invokedAt);
    }
  }

  /** Reads what some node has: some value that somebody wrote, of whatever age. */
  async #readStale(key: string): Promise<void> {
    const { random, machines } = this.#parts;
    const machine = machines[random.below(machines.length)]!;
    const name = utf8(nameOf(key, ROW_PARTS[random.below(ROW_PARTS.length)]));
    const answer = await this.#patiently(
      machine.execute(
        { kind: "get", key: name, consistency: "stale", keyspace: keyspaceOf(key, this.#other) },
        "redirect",
      ),
    );
    if (typeof answer === "string" || answer.kind !== "value" || answer.value === undefined) return;
    if (isCounter(key)) return;
    const value = fromUtf8(answer.value);
    if (!this.#attempted.get(key)?.has(value)) {
      this.failures.push(`${machine.name} has ${value} under ${key}, which nobody ever wrote`);
    }
  }

  async #once(client: number, key: string, action: Action): Promise<void> {
    const invokedAt = this.#instant();
    const { random, shards } = this.#parts;
    const part = ROW_PARTS[random.below(ROW_PARTS.length)]!;
    const isConditional = random.below(2) === 0;
    const plain = this.#inKeyspace(key, requestOf(action, key, NO_SESSION, part, isConditional));
    const request: ClientRequest =
      plain.kind === "get" && random.below(2) === 0 ? { ...plain, consistency: "lease" } : plain;
    const answer = await this.#ask(request, shardOf(key, shards));
    this.#record(client, key, this.#judge(action, answer), invokedAt);
  }

  async #inSession(client: number, key: string, action: Action, sessions: ClientSessions): Promise<void> {
    const { random, clock, shards } = this.#parts;
    const shard = shardOf(key, shards);
    if (!sessions.has(shard)) {
      const opened = await this.#openSession(shard);
      if (opened === undefined) return;
      sessions.open(shard, opened);
    }
    const request = this.#inKeyspace(key, requestOf(action, key, sessions.next(shard), ROW_PARTS[0]));
    const invokedAt = this.#instant();
    let outcome: Operation["outcome"] = "failed";
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (attempt > 0) await sleep(clock, random.float() * RETRY_MS_MAX);
      const answer = await this.#ask(request, shard);
      const judged = this.#judge(action, answer);
      if (judged.outcome === "done") {
        this.#record(client, key, judged, invokedAt);
        if (random.below(SESSION_LENGTH) === 0) sessions.forget(shard);
        return;
      }
      if (judged.outcome === "unknown") outcome = "unknown";
      if (typeof answer !== "string" && answer.kind === "error" && answer.error === "SESSION_EXPIRED") {
        // They are forgotten after an hour.
        if (this.#parts.expiry.clocksAgree) this.failures.push(`a session of shard ${shard} is forgotten`);
        break;
      }
    }
    this.#record(client, key, { action, outcome }, invokedAt);
    sessions.forget(shard);
  }

  /**
   * Opens a session, and now and then many more beside it: their numbers are ahead of the time in the log for a while then, and
   * rest on nothing but what the replicas remember. The last one that was opened is the one that is used.
   */
  async #openSession(shard: number): Promise<number | undefined> {
    const { random, clock, checks } = this.#parts;
    const isBurst = random.below(BURST_CHANCE) === 0;
    const numbers: number[] = [];
    const open = async (delayMs: number): Promise<void> => {
      if (delayMs > 0) await sleep(clock, delayMs);
      const opened = await this.#ask({ kind: "openSession", shard: shardId(shard) }, shard);
      if (typeof opened === "string" || opened.kind !== "integer") return;
      checks.openedSession(shard, Number(opened.value));
      numbers.push(Number(opened.value));
    };
    const atOnce = isBurst ? BURST : 1;
    const later = isBurst ? BURST / 4 : 0;
    await Promise.all([
      ...Array.from({ length: atOnce }, () => open(0)),
      ...Array.from({ length: later }, () => open(random.float() * BURST)),
    ]);
    return numbers.at(-1);
  }

  #inKeyspace(key: string, request: KeyRequest): KeyRequest {
    return isOther(key) ? { ...request, keyspace: keyspaceOf(key, this.#other) } : request;
  }

  /** Asks one node, mostly the one that was last said to lead, and waits for a while. */
  async #ask(request: ClientRequest, shard: number): Promise<Answer> {
    const { random, machines } = this.#parts;
    const hinted = random.below(4) > 0 ? this.#leaders.get(shard) : undefined;
    const machine = hinted ?? machines[random.below(machines.length)]!;
    const routing: Routing = random.below(2) === 0 ? "forward" : "redirect";
    const answer = await this.#patiently(this.#execute(machine, request, routing, shard));
    if (typeof answer === "string" || answer.kind === "error") {
      const hint = typeof answer === "string" ? undefined : answer.leader?.node;
      const leader = machines.find(({ name }) => name === hint);
      if (leader === undefined) this.#leaders.delete(shard);
      else this.#leaders.set(shard, leader);
    }
    return answer;
  }

  /** Has `machine` execute a request. A read that it answers by itself has to be as new as what was committed before. */
  #execute(
    machine: SimulatedMachine,
    request: ClientRequest,
    routing: Routing,
    shard: number,
  ): Promise<Answer> {
    const answer = machine.execute(request, routing);
    const isOfShard = request.kind === "get" || (request.kind === "scan" && request.shard !== undefined);
    if (routing === "forward" || !isOfShard || request.consistency === "stale") return answer;
    const { checks } = this.#parts;
    const committed = checks.commitOf(shardId(shard));
    return answer.then((response) => {
      const isRead = typeof response !== "string" && response.kind !== "error";
      if (isRead) checks.answeredRead(machine, shardId(shard), committed);
      return response;
    });
  }

  #patiently(answer: Promise<Answer>): Promise<Answer> {
    const { random, clock } = this.#parts;
    const patienceMs = random.float() * (random.below(8) === 0 ? 20 : PATIENCE_MS_MAX);
    return Promise.race([answer, sleep(clock, patienceMs).then(() => "lost" as const)]);
  }

  #judge(action: Action, answer: Answer): Judged {
    if (answer === "lost") return { action, outcome: "unknown" };
    if (answer === "refused") return { action, outcome: "failed" };
    if (answer.kind === "error") {
      this.#noteError(action, answer.error, answer.message);
      return { action, outcome: ERRORS[answer.error].outcome === "unknown" ? "unknown" : "failed" };
    }
    const done = doneAction(action, answer);
    if (done !== undefined) return { action: done, outcome: "done" };
    this.failures.push(`a ${action.kind} was answered with a ${answer.kind}`);
    return { action, outcome: "unknown" };
  }

  #noteError(action: Action, error: ErrorName, message: string): void {
    // A node may pass on what a damaged one said.
    const isExplained = this.#parts.machines.some(({ isExcused }) => isExcused);
    if (!UNEXPECTED.has(error) || isExplained) return;
    this.failures.push(`a ${action.kind} was answered with ${error}: ${message}`);
  }

  #record(client: number, key: string, { action, outcome }: Judged, invokedAt: number): void {
    const operation = { client, key, action, outcome, invokedAt, returnedAt: this.#instant() };
    this.history.push(operation);
    this.#parts.observe(operation);
    const gone = this.#parts.expiry.goneOf(operation);
    if (gone !== undefined) this.history.push(gone);
    if (outcome !== "done") return;
    if (action.kind === "get") this.#seen.set(key, action.result);
    if (action.kind === "put") this.#seen.set(key, action.value);
  }

  /** The time; later than any that was given out before. */
  #instant(): number {
    return this.#parts.clock.nowMs() + ++this.#instants * 1e-6;
  }
}

type KeyRequest = Extract<ClientRequest, InKeyspace & { readonly stamp: unknown }> | Get;

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

/** `part`: which key of a row is read. `isConditional`: a put that wants no such key there stands for the swap that says so. */
function requestOf(
  action: Action,
  key: string,
  stamp: SessionStamp,
  part: string,
  isConditional = false,
): KeyRequest {
  const name = utf8(nameOf(key, part));
  switch (action.kind) {
    case "get":
      return { kind: "get", key: name, consistency: "linearizable" };
    case "put":
      if (isRow(key)) {
        const value = utf8(action.value);
        const entries = ROW_PARTS.map((each) => ({ key: utf8(nameOf(key, each)), value }));
        return { kind: "batch", stamp, entries };
      }
      if (action.expiry !== undefined) {
        const isKept = action.expiry === "keep";
        return {
          ...{ kind: "putWith", stamp, key: name, value: utf8(action.value), condition: "always" },
          ...{ expiry: isKept ? "keep" : "after", expiryMs: isKept ? 0 : action.expiry, answersOld: false },
        };
      }
      return { kind: "put", stamp, key: name, value: utf8(action.value), condition: "always" };
    case "delete":
      return { kind: "delete", stamp, key: name };
    case "increment":
      return { kind: "increment", stamp, key: name, delta: action.delta };
    case "cas": {
      const expected = action.expected === undefined ? undefined : utf8(action.expected);
      const value = action.value === undefined ? undefined : utf8(action.value);
      if (isConditional && expected === undefined && value !== undefined) {
        return { kind: "put", stamp, key: name, value, condition: "ifAbsent" };
      }
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
