/**
 * Exactly once (Raft thesis §6.3). Every write of a session has a sequence number, and the group remembers the answers
 * that the client has not confirmed yet: a write that arrives a second time, after a lost reply or through another leader,
 * is answered from here and not done again. The table is part of the replicated state: all replicas change it in the
 * same way at the same log position, and it expires by the time in the log, never by a clock.
 */
import { ERRORS, type ErrorName, errorResponse, ProtocolError } from "../../protocol/errors.ts";
import type { ClientResponse, SessionStamp } from "../../protocol/messages.ts";
import { type Shape, text, whole } from "../../protocol/shape.ts";

/** The answers that are remembered: small ones. A write that a session numbers never answers with anything else. */
export type RememberedResponse = Extract<ClientResponse, { kind: "boolean" | "integer" | "error" }>;

export interface SessionLimits {
  /** A session that was not used for this long, in log time, is forgotten. */
  readonly idleMs: number;
  /** Beyond this many sessions of a shard, opening one forgets the one that was not used for longest. */
  readonly sessionsMax: number;
  /**
   * Beyond this many answers of a shard that no client has confirmed, the session that was not used for longest is
   * forgotten: the table is in memory, is written with every table of the engine, and travels with every snapshot.
   */
  readonly answersMax: number;
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  idleMs: 60 * 60 * 1000,
  sessionsMax: 4096,
  answersMax: 128 * 1024,
};
/** Most writes of one session whose answers the client has not confirmed. */
export const SESSION_WINDOW_MAX = 4096;

interface Session {
  lastUsedMs: number;
  /** Answers to sequences below this have been forgotten, since the client has them. */
  floor: number;
  readonly answers: Map<number, RememberedResponse>;
}

/** The next session's number, and the sessions: number, last use, floor, answers by sequence. */
type SessionDump = readonly [
  next: number,
  rows: readonly (readonly [
    id: number,
    lastUsedMs: number,
    floor: number,
    answers: readonly (readonly [sequence: number, answer: PlainAnswer])[],
  ])[],
];

export type SessionLookup =
  | { readonly kind: "new" }
  | { readonly kind: "done"; readonly response: RememberedResponse }
  | { readonly kind: "expired" };

const NEW: SessionLookup = { kind: "new" };
const EXPIRED: SessionLookup = { kind: "expired" };

export class SessionTable {
  readonly #limits: SessionLimits;
  #sessions = new Map<number, Session>();
  /** Answers of all sessions. */
  #answers = 0;
  #next = 1;

  constructor(limits: SessionLimits = DEFAULT_SESSION_LIMITS) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Opens a session: its number, never used before in this group. */
  open(timeMs: number): number {
    this.#expire(timeMs);
    // The time keeps numbers of a cluster that was wiped and begun again on the same addresses from being taken for this one's.
    const id = Math.max(this.#next, Math.floor(timeMs));
    this.#next = id + 1;
    this.#sessions.set(id, { lastUsedMs: timeMs, floor: 1, answers: new Map() });
    return id;
  }

  /** What is to be done with a write: do it, or answer what it was answered before. */
  lookup(stamp: SessionStamp): SessionLookup {
    if (stamp.session === 0) return NEW;
    const session = this.#sessions.get(stamp.session);
    if (session === undefined || stamp.sequence < session.floor) return EXPIRED;
    const response = session.answers.get(stamp.sequence);
    return response === undefined ? NEW : { kind: "done", response };
  }

  /** Remembers the answer to a write that was `new`. */
  remember(stamp: SessionStamp, timeMs: number, response: RememberedResponse): void {
    if (stamp.session === 0) return;
    const session = this.#sessions.get(stamp.session)!;
    const before = session.answers.size;
    session.lastUsedMs = timeMs;
    session.answers.set(stamp.sequence, response);
    forgetBelow(session, stamp.acknowledgedBelow);
    this.#answers += session.answers.size - before;
    while (this.#answers > this.#limits.answersMax && this.#sessions.size > 1) {
      this.#forget(this.#oldest(stamp.session));
    }
  }

  /** The whole table as plain data (`protocol/plain.ts`), for `restore`. */
  dump(): unknown {
    const rows = [...this.#sessions].map(([id, { lastUsedMs, floor, answers }]) => {
      const plain = [...answers].map(([sequence, answer]) => [sequence, toPlain(answer)] as const);
      return [id, lastUsedMs, floor, plain] as const;
    });
    return [this.#next, rows] satisfies SessionDump;
  }

  restore(dump: unknown): void {
    const [next, rows] = dump as SessionDump;
    this.#next = next;
    this.#sessions = new Map(
      rows.map(([id, lastUsedMs, floor, plain]) => {
        const answers = new Map(plain.map(([sequence, answer]) => [sequence, fromPlain(answer)]));
        return [id, { lastUsedMs, floor, answers }];
      }),
    );
    this.#answers = 0;
    for (const { answers } of this.#sessions.values()) this.#answers += answers.size;
  }

  /** Throws `ProtocolError` (BAD_REQUEST) where `dump` is none. */
  checkDump(dump: unknown): void {
    const { sessionsMax, answersMax } = this.#limits;
    const [next, rows] = items(dump, "sessions", 2);
    number(next, "the next session's number");
    let answers = 0;
    for (const row of items(rows, "sessions")) {
      const [id, lastUsedMs, floor, plain] = items(row, "a session", 4);
      number(id, "a session's number");
      if (typeof lastUsedMs !== "number") throw malformed("a session's last use");
      number(floor, "a session's floor");
      for (const answer of items(plain, "answers")) {
        const [sequence, value] = items(answer, "an answer", 2);
        number(sequence, "an answer's number");
        plainAnswer(value, "an answer");
        answers++;
      }
    }
    const count = items(rows, "sessions").length;
    if (count > sessionsMax || answers > Math.max(answersMax, SESSION_WINDOW_MAX)) {
      throw new ProtocolError("BAD_REQUEST", `${count} sessions with ${answers} answers are too many`);
    }
  }

  #expire(timeMs: number): void {
    for (const [id, session] of this.#sessions) {
      if (session.lastUsedMs + this.#limits.idleMs < timeMs) this.#forget(id);
    }
    while (this.#sessions.size >= this.#limits.sessionsMax) this.#forget(this.#oldest(undefined));
  }

  /** The session that was not used for longest, of those but `except`. */
  #oldest(except: number | undefined): number {
    let oldest: [number, Session] | undefined;
    for (const row of this.#sessions) {
      if (row[0] === except) continue;
      if (oldest === undefined || row[1].lastUsedMs < oldest[1].lastUsedMs) oldest = row;
    }
    return oldest![0];
  }

  #forget(id: number): void {
    this.#answers -= this.#sessions.get(id)!.answers.size;
    this.#sessions.delete(id);
  }
}

/** An answer as plain data: a boolean as itself, an integer as itself, an error as its name and message. */
type PlainAnswer = boolean | bigint | number | readonly [error: ErrorName, message: string];

const number = whole(0, Number.MAX_SAFE_INTEGER);

const plainAnswer: Shape<PlainAnswer> = (value, path) => {
  if (typeof value === "boolean" || typeof value === "bigint") return value;
  if (typeof value === "number" && Number.isInteger(value)) return value;
  const [error, message] = items(value, path, 2);
  const name = text(error, path);
  if (!Object.hasOwn(ERRORS, name)) throw malformed(path);
  return [name as ErrorName, text(message, path)];
};

/** An array, of `length` items if that is said. */
function items(value: unknown, path: string, length?: number): readonly unknown[] {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length)) throw malformed(path);
  return value;
}

function malformed(path: string): ProtocolError {
  return new ProtocolError("BAD_REQUEST", `malformed dump: ${path}`);
}

function toPlain(answer: RememberedResponse): PlainAnswer {
  return answer.kind === "error" ? [answer.error, answer.message] : answer.value;
}

function fromPlain(answer: PlainAnswer): RememberedResponse {
  if (typeof answer === "boolean") return { kind: "boolean", value: answer };
  if (typeof answer === "object") return errorResponse(...answer);
  return { kind: "integer", value: BigInt(answer) };
}

/** Drops the answers below `floor`, in steps of what there is and not of what a client's numbers say. */
function forgetBelow(session: Session, floor: number): void {
  if (floor <= session.floor) return;
  if (floor - session.floor > session.answers.size) {
    for (const sequence of session.answers.keys()) if (sequence < floor) session.answers.delete(sequence);
  } else {
    for (let sequence = session.floor; sequence < floor; sequence++) session.answers.delete(sequence);
  }
  session.floor = floor;
}
