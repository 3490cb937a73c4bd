/**
 * A client of a simulated cluster that speaks the text mode, as Redis' clients do: one connection to a node, one command at
 * a time. What is under way when the connection breaks, or is not answered in time, has an unknown outcome.
 */
import type { ErrorName } from "../../protocol/errors.ts";
import type { Connection, ConnectionHandler } from "../../src/env/env.ts";
import type { Action } from "../support/history.ts";
import { isRow, nameOf } from "./keys.ts";
import { SimulatedProcess } from "./process.ts";
import type { Told, WireClientParts } from "./wire-client.ts";

/** Longest time that a command is waited for. */
const PATIENCE_MS_MAX = 6_000;
const LINE_END = "\r\n";

/** What an error's first word says: of all but a timeout that nothing was done (`src/server/text-errors.ts`). */
const WORDS: Readonly<Record<string, ErrorName>> = {
  CLUSTERDOWN: "UNAVAILABLE",
  TRYAGAIN: "OVERLOADED",
  MISCONF: "READ_ONLY",
  TIMEOUT: "TIMEOUT",
};

type Reply =
  | { readonly kind: "error" | "text" | "number"; readonly text: string }
  | { readonly kind: "none" };

export class TextClient implements ConnectionHandler {
  readonly #parts: WireClientParts;
  readonly #process: SimulatedProcess;
  #connection: Connection | undefined;
  #isOpen = false;
  #received = "";
  /** Who waits for the connection, or for a reply. */
  #waiting: ((reply: Reply | "opened" | undefined) => void) | undefined;

  constructor(parts: WireClientParts) {
    this.#parts = parts;
    const uncaught = (error: unknown) => parts.fail(`${parts.host}: ${(error as Error).stack ?? error}`);
    this.#process = new SimulatedProcess(parts.network.clock, uncaught);
  }

  /** Whether there is a command that does this. */
  canDo(key: string, action: Action): boolean {
    return action.kind === "cas"
      ? action.expected === undefined && action.value !== undefined
      : action.kind === "get" || !isRow(key);
  }

  /** Does `action` on a key of the history, and says what came of it. Never rejects. */
  async act(key: string, action: Action): Promise<Told> {
    const { random } = this.#parts;
    const isConnected = this.#isOpen || (await this.#connect());
    const connection = this.#connection;
    // What was opened may be closed again before it is this one's turn.
    if (!isConnected || connection === undefined) {
      return { action, outcome: "failed", error: "UNAVAILABLE", message: "no connection" };
    }
    connection.send(encode(commandOf(nameOf(key), action)));
    const reply = await this.#wait(random.float() * (random.below(8) === 0 ? 50 : PATIENCE_MS_MAX));
    if (reply === undefined || reply === "opened") {
      this.close();
      return { action, outcome: "unknown", error: "TIMEOUT", message: "no reply" };
    }
    if (reply.kind !== "error") return { action: doneBy(action, reply), outcome: "done" };
    const error = WORDS[reply.text.split(" ")[0]!] ?? "INTERNAL";
    return { action, outcome: error === "TIMEOUT" ? "unknown" : "failed", error, message: reply.text };
  }

  close(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#isOpen = false;
    this.#received = "";
  }

  opened(connection: Connection): void {
    if (connection !== this.#connection) return;
    this.#isOpen = true;
    this.#settle("opened");
  }

  received(connection: Connection, bytes: Uint8Array): void {
    if (connection !== this.#connection) return;
    this.#received += Buffer.from(bytes).toString("latin1");
    const parsed = parse(this.#received);
    if (parsed === undefined) return;
    this.#received = this.#received.slice(parsed.end);
    this.#settle(parsed.reply);
  }

  closed(connection: Connection): void {
    if (connection !== this.#connection) return;
    this.close();
    this.#settle(undefined);
  }

  async #connect(): Promise<boolean> {
    const { network, random, host, nodes, port } = this.#parts;
    const transport = network.attach(host, this.#process);
    this.#connection = transport.connect(nodes[random.below(nodes.length)]!, port, this);
    const isOpen = (await this.#wait(1000)) === "opened";
    if (!isOpen) this.close();
    return isOpen;
  }

  #wait(limitMs: number): Promise<Reply | "opened" | undefined> {
    return new Promise((resolve) => {
      const timer = this.#process.timer(limitMs, () => this.#settle(undefined));
      this.#waiting = (reply) => {
        timer.cancel();
        resolve(reply);
      };
    });
  }

  #settle(reply: Reply | "opened" | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(reply);
  }
}

function commandOf(name: string, action: Action): readonly string[] {
  switch (action.kind) {
    case "get":
      return ["GET", name];
    case "put": {
      const { expiry, value } = action;
      if (expiry === undefined) return ["SET", name, value];
      return expiry === "keep" ? ["SET", name, value, "KEEPTTL"] : ["SET", name, value, "PX", String(expiry)];
    }
    case "delete":
      return ["DEL", name];
    case "increment":
      return ["INCRBY", name, String(action.delta)];
    case "cas":
      return ["SET", name, action.value!, "NX"];
  }
}

/** The action with what was replied. */
function doneBy(action: Action, reply: Reply): Action {
  const text = reply.kind === "none" ? undefined : reply.text;
  switch (action.kind) {
    case "get":
      return { kind: "get", result: text };
    case "put":
      return action;
    case "delete":
      return { kind: "delete", result: text === "1" };
    case "increment":
      return { ...action, result: BigInt(text!) };
    case "cas":
      return { ...action, result: text === "OK" };
  }
}

function encode(words: readonly string[]): Uint8Array {
  const bulks = words.map((word) => `$${Buffer.byteLength(word)}${LINE_END}${word}${LINE_END}`);
  return new Uint8Array(Buffer.from(`*${words.length}${LINE_END}${bulks.join("")}`));
}

/** The first reply in `text`, and where it ends; `undefined` while it is not all there. */
function parse(text: string): { readonly reply: Reply; readonly end: number } | undefined {
  const lineEnd = text.indexOf(LINE_END);
  if (lineEnd < 0) return undefined;
  const line = text.slice(1, lineEnd);
  const next = lineEnd + LINE_END.length;
  switch (text[0]) {
    case "-":
      return { reply: { kind: "error", text: line }, end: next };
    case "+":
      return { reply: { kind: "text", text: line }, end: next };
    case ":":
      return { reply: { kind: "number", text: line }, end: next };
    case "$": {
      const length = Number(line);
      if (length < 0) return { reply: { kind: "none" }, end: next };
      const end = next + length + LINE_END.length;
      return text.length < end
        ? undefined
        : { reply: { kind: "text", text: text.slice(next, next + length) }, end };
    }
    default:
      throw new Error(`${JSON.stringify(text.slice(0, 40))} is no reply`);
  }
}
