import type { Clock } from "../env/env.ts";

/** A connection that has something to do once the events of this turn of the loop have been handled. */
export interface TurnMember {
  /** Sends what the turn produced, in one system call, and goes on with what had to wait. May mark again. */
  endTurn(): void;
}

/**
 * Gathers the connections that were touched in this turn of the loop, so that each is served once at its end: this is
 * what turns many replies into one write. One callback of the clock serves them all.
 */
export class Turn {
  readonly #clock: Clock;
  #marked: TurnMember[] = [];
  #serving: TurnMember[] = [];
  #scheduled = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks for one `endTurn` of `member`, which sees to it that it marks itself once only. */
  mark(member: TurnMember): void {
    this.#marked.push(member);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.endOfTurn(this.#serve);
  }

  readonly #serve = (): void => {
    this.#scheduled = false;
    const members = this.#marked;
    this.#marked = this.#serving;
    for (let i = 0; i < members.length; i++) members[i]!.endTurn();
    members.length = 0;
    this.#serving = members;
  };
}
