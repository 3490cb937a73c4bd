/**
 * Keyspaces of a simulated run: a second one that stays, whose keys are called as those of the default one, and one that
 * comes and goes all the time under one name. In no life of it may there be what another one had.
 */
import type { KeyspaceId } from "../../protocol/ids.ts";
import { keyspaceId } from "../../protocol/ids.ts";
import { type ClientRequest, NO_SESSION } from "../../protocol/messages.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { Answer, SimulatedMachine } from "./machine.ts";

export interface KeyspacesParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly machines: readonly SimulatedMachine[];
  /** Keys that other keyspaces have as well. */
  readonly names: readonly string[];
  readonly fail: (problem: string) => void;
}

/** Longest waits: before something is tried again, and between two lives of the keyspace that comes and goes. */
const RETRY_MS_MAX = 300;
const PAUSE_MS_MAX = 1_500;
const PATIENCE_MS = 2_000;
const WRITES_MAX = 12;

export class SimulatedKeyspaces {
  readonly #parts: KeyspacesParts;
  #other: KeyspaceId | undefined;
  #isStopped = false;
  #running = 0;
  #serial = 0;

  constructor(parts: KeyspacesParts) {
    this.#parts = parts;
  }

  /** The number of the second keyspace, once it is there. */
  get other(): KeyspaceId | undefined {
    return this.#other;
  }

  get isDone(): boolean {
    return this.#running === 0;
  }

  start(): void {
    this.#run(this.#begin());
  }

  stop(): void {
    this.#isStopped = true;
  }

  #run(work: Promise<void>): void {
    this.#running++;
    work.then(() => this.#running--);
  }

  async #begin(): Promise<void> {
    this.#other = await this.#create("other");
    while (!this.#isStopped && this.#other !== undefined) await this.#live();
  }

  /** One life of the keyspace that comes and goes. */
  async #live(): Promise<void> {
    const { random, names } = this.#parts;
    const keyspace = await this.#create("temporary");
    if (keyspace === undefined) return;
    const written = new Set<string>();
    for (let left = random.below(WRITES_MAX); left > 0 && !this.#isStopped; left--) {
      const key = utf8(names[random.below(names.length)]!);
      const value = `t${keyspace}.${this.#serial++}`;
      written.add(value);
      await this.#ask({
        kind: "put",
        stamp: NO_SESSION,
        key,
        value: utf8(value),
        condition: "always",
        keyspace,
      });
      const answer = await this.#ask({ kind: "get", key, consistency: "linearizable", keyspace });
      if (answer === "lost" || answer === "refused" || answer.kind !== "value" || answer.value === undefined)
        continue;
      const found = fromUtf8(answer.value);
      if (!written.has(found))
        this.#parts.fail(`keyspace ${keyspace} has ${found}, which nobody ever wrote there`);
    }
    await this.#pause(PAUSE_MS_MAX);
    const isDropped = (answer: Answer) => typeof answer !== "string" && answer.kind === "integer";
    await this.#until({ kind: "dropKeyspace", id: keyspace, forwarded: false }, isDropped);
  }

  /** `undefined`: the run is over before it is there. */
  async #create(name: string): Promise<KeyspaceId | undefined> {
    const token = this.#parts.random.below(2 ** 32);
    const isCreated = (answer: Answer) => typeof answer !== "string" && answer.kind === "integer";
    const request = { kind: "createKeyspace", name, mode: "raft", token, forwarded: false } as const;
    const answer = await this.#until(request, isCreated);
    return answer === undefined || typeof answer === "string" || answer.kind !== "integer"
      ? undefined
      : keyspaceId(Number(answer.value));
  }

  /** Asks until it is answered as it should be. */
  async #until(request: ClientRequest, isDone: (answer: Answer) => boolean): Promise<Answer | undefined> {
    while (!this.#isStopped) {
      const answer = await this.#ask(request);
      if (isDone(answer)) return answer;
      await this.#pause(RETRY_MS_MAX);
    }
    return undefined;
  }

  #ask(request: ClientRequest): Promise<Answer> {
    const { random, machines } = this.#parts;
    const answer = machines[random.below(machines.length)]!.execute(request, "forward");
    return Promise.race([answer, this.#pause(PATIENCE_MS).then(() => "lost" as const)]);
  }

  #pause(longestMs: number): Promise<void> {
    const { clock, random } = this.#parts;
    return new Promise((resolve) => clock.timer(random.float() * longestMs, resolve));
  }
}
