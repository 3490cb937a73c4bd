/**
 * Is a history linearizable? That is: is there one order of its operations, in which each takes effect at some instant
 * between its call and its return, that a single map in one place could have produced?
 *
 * The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993) in the just-in-time form of Lowe
 * ("Testing for linearizability", 2017), with Lowe's memoization. Keys are independent, so each is checked by itself. Time
 * is cut at the returns. What the past allows is a *configuration*: the key's value, and which of the operations still in
 * flight have already taken effect. Before an operation returns, a configuration is extended by operations in flight until
 * the one that returns has taken effect with the result that the client saw; then the next return is looked at. Where that
 * is impossible the search goes back and extends otherwise. When nothing is left to try, no order explains the history.
 *
 * What keeps the set small:
 * - A read in flight that fits the value takes effect at once: it changes nothing, and to have it done is never worse.
 * - An operation with unknown outcome stays in flight for ever, and may never happen at all. So a configuration that has used
 *   fewer of them is at least as good as one that used more, and the worse one is dropped (`dominates`).
 * - Unknown operations that would do the same are interchangeable: they are counted, not told apart.
 * - Values that no operation ever looked for are one value: nobody could tell them apart.
 */

import { type Action, describeImpossible, type Operation } from "./history.ts";

export interface Violation {
  readonly key: string;
  /** The first operation to return whose result no order explains. */
  readonly operation: Operation;
  /** The values that the key could have had by then; `undefined` is "no such key". */
  readonly possible: readonly (string | undefined)[];
  /** All of it for people: what was impossible, and the operations around it. */
  readonly report: string;
}

export type Verdict =
  | { readonly linearizable: true; readonly operations: number; readonly configurations: number }
  | { readonly linearizable: false; readonly violation: Violation };

/** The search grew beyond its bound: the history is neither accepted nor rejected. */
export class UndecidedError extends Error {
  override readonly name = "UndecidedError";
}

/** Configurations of one key after which the search gives up. Most histories need a few for each operation. */
const CONFIGURATIONS_MAX = 3_000_000;
/** After this many for each return, the search is no longer depth first. */
const DEPTH_FIRST_PER_STEP = 100;

/** Whether `history` is linearizable, from an empty map. The order of the array does not matter. Throws `UndecidedError`. */
export function checkLinearizable(history: readonly Operation[]): Verdict {
  const byKey = new Map<string, Operation[]>();
  for (const operation of history) {
    const operations = byKey.get(operation.key);
    if (operations === undefined) byKey.set(operation.key, [operation]);
    else operations.push(operation);
  }
  let configurations = 0;
  for (const key of [...byKey.keys()].sort()) {
    const search = new KeySearch(key, byKey.get(key)!);
    const violation = search.run();
    if (violation !== undefined) return { linearizable: false, violation };
    configurations += search.configurations;
  }
  return { linearizable: true, operations: history.length, configurations };
}

/** Throws an error that carries the violation's report. */
export function assertLinearizable(history: readonly Operation[]): void {
  const verdict = checkLinearizable(history);
  if (!verdict.linearizable) throw new Error(verdict.violation.report);
}

/** A value as a small number: equal values (and values that nobody can tell apart) have equal numbers. */
type State = number;
const ABSENT: State = 0;
const UNOBSERVED: State = 1;
/** The operation can't take effect here with this result. */
const IMPOSSIBLE = -1;

/** One possible past. `writes` and `reads` hold a bit for each operation in flight that has taken effect, by its slot. */
interface Configuration {
  readonly state: State;
  readonly writes: bigint;
  readonly reads: bigint;
  /** By class of unknown operations: how many of them have taken effect. */
  readonly used: readonly number[];
}

/** An operation that will return, while it is in flight. */
interface Flight {
  readonly operation: Operation;
  readonly bit: bigint;
}

/** Operations of unknown outcome that would all do the same, and how many of them had been called by then. */
interface UnknownClass {
  readonly action: Action;
  readonly index: number;
  readonly called: number;
}

/** The instant just before an operation returns: who is in flight then. */
interface Step {
  readonly target: Flight;
  readonly writes: readonly Flight[];
  readonly reads: readonly Flight[];
  readonly unknown: readonly UnknownClass[];
}

class KeySearch {
  readonly #key: string;
  readonly #operations: readonly Operation[];
  readonly #values: ValueTable;
  readonly #steps: readonly Step[];
  /** By step: the configurations that were looked at. */
  readonly #seen: ConfigurationSet[] = [];
  /** By step: those that were reached and not looked at yet. */
  readonly #waiting: Configuration[][] = [[{ state: ABSENT, writes: 0n, reads: 0n, used: [] }]];
  /** Once the search goes by steps: the step that it is at, and how many of those waiting there it has taken. */
  #lowest = 0;
  #taken = 0;
  /** How many configurations the search went through. */
  configurations = 0;

  constructor(key: string, operations: readonly Operation[]) {
    this.#key = key;
    // What failed did not happen, and a read without an answer says nothing.
    this.#operations = operations.filter(
      ({ outcome, action }) => outcome === "done" || (outcome === "unknown" && action.kind !== "get"),
    );
    this.#values = new ValueTable(this.#operations);
    this.#steps = stepsOf(this.#operations, this.#values);
  }

  run(): Violation | undefined {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const [number, configuration] = next;
      const step = this.#steps[number];
      if (step === undefined) return undefined;
      if (this.configurations++ > CONFIGURATIONS_MAX) {
        throw new UndecidedError(`key ${this.#key}: undecided after ${CONFIGURATIONS_MAX} configurations`);
      }
      const settled = this.#settleReads(configuration, step.reads);
      this.#seen[number] ??= new ConfigurationSet();
      if (!this.#seen[number]!.add(settled)) continue;
      const { bit } = step.target;
      if (((settled.writes | settled.reads) & bit) === 0n) {
        this.#waiting[number]!.push(...this.#successors(settled, step));
      } else {
        const { state, writes, reads, used } = settled;
        this.#waiting[number + 1] ??= [];
        this.#waiting[number + 1]!.push({ state, writes: writes & ~bit, reads: reads & ~bit, used });
      }
    }
    return this.#violation();
  }

  /**
   * Where to go on, and what with; `undefined` when nothing waits. At first it is the furthest step: an honest history is
   * walked from end to end with few detours, however much else its unknown operations would have allowed. If that takes
   * too long it is the nearest one, and there what used least comes first, so that the others meet what dominates them.
   */
  #next(): [step: number, configuration: Configuration] | undefined {
    const waiting = this.#waiting;
    if (this.configurations < DEPTH_FIRST_PER_STEP * this.#steps.length) {
      while (waiting.length > 1 && waiting.at(-1)!.length === 0) waiting.pop();
      const found = waiting.at(-1)!.pop();
      return found === undefined ? undefined : [waiting.length - 1, found];
    }
    while (this.#lowest < waiting.length) {
      const here = waiting[this.#lowest]!;
      if (this.#taken === 0) here.sort((a, b) => total(a.used) - total(b.used));
      const found = here[this.#taken++];
      if (found !== undefined) return [this.#lowest, found];
      this.#lowest++;
      this.#taken = 0;
    }
    return undefined;
  }

  /** Where one more operation in flight leads; the last is the most likely one to be right. */
  #successors({ state, writes, reads, used }: Configuration, step: Step): Configuration[] {
    const successors: Configuration[] = [];
    for (const { action, index, called } of step.unknown) {
      if ((used[index] ?? 0) >= called) continue;
      const after = this.#values.apply(action, state, false);
      if (after !== IMPOSSIBLE && after !== state) {
        successors.push({ state: after, writes, reads, used: oneMore(used, index) });
      }
    }
    for (const { operation, bit } of step.writes) {
      if ((writes & bit) !== 0n) continue;
      const after = this.#values.apply(operation.action, state, true);
      if (after !== IMPOSSIBLE) successors.push({ state: after, writes: writes | bit, reads, used });
    }
    return successors;
  }

  /** Lets every read in flight that fits the value take effect. */
  #settleReads(configuration: Configuration, flights: readonly Flight[]): Configuration {
    let reads = configuration.reads;
    for (const { operation, bit } of flights) {
      if (this.#values.apply(operation.action, configuration.state, true) !== IMPOSSIBLE) reads |= bit;
    }
    return reads === configuration.reads ? configuration : { ...configuration, reads };
  }

  /** The search got as far as its last step with anything seen, and no configuration got beyond. */
  #violation(): Violation {
    const { operation } = this.#steps[this.#seen.length - 1]!.target;
    const possible = [
      ...new Set(
        this.#seen
          .at(-1)!
          .all()
          .map(({ state }) => state),
      ),
    ]
      .sort((a, b) => a - b)
      .map((state) => this.#values.text(state));
    const report = describeImpossible(this.#key, operation, possible, this.#operations);
    return { key: this.#key, operation, possible, report };
  }
}

/** Walks time once: for each return, what is in flight. A slot (a bit) is used again when its operation has returned. */
function stepsOf(operations: readonly Operation[], values: ValueTable): Step[] {
  const steps: Step[] = [];
  const flights = new Map<Operation, Flight>();
  const indexes = new Map<string, number>();
  const freeSlots: number[] = [];
  let unknown: readonly UnknownClass[] = [];
  for (const { operation, returns } of eventsOf(operations)) {
    if (operation.outcome === "unknown") {
      const signature = values.signature(operation.action);
      const index = indexes.get(signature) ?? indexes.size;
      indexes.set(signature, index);
      const called = (unknown[index]?.called ?? 0) + 1;
      unknown = [...unknown];
      (unknown as UnknownClass[])[index] = { action: operation.action, index, called };
    } else if (!returns) {
      const slot = freeSlots.pop() ?? flights.size;
      flights.set(operation, { operation, bit: 1n << BigInt(slot) });
    } else {
      const all = [...flights.values()];
      const target = flights.get(operation)!;
      const writes = all.filter((flight) => !changesNothing(flight.operation.action));
      const reads = all.filter((flight) => changesNothing(flight.operation.action));
      // What returns soonest is tried first, so it is the last one to be put on the stack.
      writes.sort((a, b) => b.operation.returnedAt - a.operation.returnedAt);
      steps.push({ target, writes, reads, unknown });
      flights.delete(operation);
      freeSlots.push(target.bit.toString(2).length - 1);
    }
  }
  return steps;
}

/** Configurations without those that another one dominates. */
class ConfigurationSet {
  readonly #groups = new Map<string, Configuration[]>();
  size = 0;

  /** False when one that is at least as good is there already. */
  add(configuration: Configuration): boolean {
    const name = `${configuration.state}/${configuration.writes}`;
    const group = this.#groups.get(name);
    if (group === undefined) {
      this.#groups.set(name, [configuration]);
      this.size++;
      return true;
    }
    if (group.some((other) => dominates(other, configuration))) return false;
    const kept = group.filter((other) => !dominates(configuration, other));
    kept.push(configuration);
    this.#groups.set(name, kept);
    this.size += kept.length - group.length;
    return true;
  }

  all(): Configuration[] {
    return [...this.#groups.values()].flat();
  }
}

/** Whether everything that `b` can still explain, `a` can explain too. Both have the same state and writes. */
function dominates(a: Configuration, b: Configuration): boolean {
  if ((a.reads & b.reads) !== b.reads) return false;
  for (let i = 0; i < a.used.length; i++) if (a.used[i]! > (b.used[i] ?? 0)) return false;
  return true;
}

/** The values of one key, numbered; and what each action makes of them. */
class ValueTable {
  readonly #numbers = new Map<string, State>();
  readonly #texts: (string | undefined)[] = [undefined, "(a value that nobody looked for)"];

  constructor(operations: readonly Operation[]) {
    // Whoever increments looks at every number; a get looks at its result, a cas at what it expects.
    const increments = operations.some(({ action }) => action.kind === "increment");
    for (const { action } of operations) {
      if (action.kind === "get" && action.result !== undefined) this.#add(action.result);
      if (action.kind === "cas" && action.expected !== undefined) this.#add(action.expected);
      if (!increments || !("value" in action) || action.value === undefined) continue;
      if (asInteger(action.value) !== undefined) this.#add(action.value);
    }
  }

  #add(text: string): State {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const number = this.#texts.push(text) - 1;
    this.#numbers.set(text, number);
    return number;
  }

  #stateOf(text: string | undefined): State {
    return text === undefined ? ABSENT : (this.#numbers.get(text) ?? UNOBSERVED);
  }

  text(state: State): string | undefined {
    return this.#texts[state];
  }

  /** Equal for actions that do the same to every state. */
  signature(action: Action): string {
    switch (action.kind) {
      case "put":
        return `put ${this.#stateOf(action.value)}`;
      case "cas":
        return `cas ${this.#stateOf(action.expected)} ${this.#stateOf(action.value)}`;
      case "increment":
        return `increment ${action.delta}`;
      default:
        return action.kind;
    }
  }

  /** The state after `action` in `state`, or IMPOSSIBLE. `answered`: it also has to give the action's result. */
  apply(action: Action, state: State, answered: boolean): State {
    switch (action.kind) {
      case "put":
        return this.#stateOf(action.value);
      case "get":
        return this.#stateOf(action.result) === state ? state : IMPOSSIBLE;
      case "delete":
        return answered && action.result !== (state !== ABSENT) ? IMPOSSIBLE : ABSENT;
      case "cas": {
        const swaps = this.#stateOf(action.expected) === state;
        if (answered && swaps !== action.result) return IMPOSSIBLE;
        return swaps ? this.#stateOf(action.value) : state;
      }
      case "increment": {
        const before = state === ABSENT ? 0n : asInteger(this.#texts[state]!);
        if (before === undefined) return IMPOSSIBLE;
        const after = before + action.delta;
        return answered && action.result !== after ? IMPOSSIBLE : this.#add(after.toString());
      }
    }
  }
}

function asInteger(text: string): bigint | undefined {
  return /^-?[0-9]{1,19}$/.test(text) ? BigInt(text) : undefined;
}

/** Whether the action, with the result that it had, left the value as it was. */
function changesNothing(action: Action): boolean {
  return (
    action.kind === "get" || ((action.kind === "cas" || action.kind === "delete") && action.result === false)
  );
}

function total(used: readonly number[]): number {
  return used.reduce((sum, count) => sum + (count ?? 0), 0);
}

function oneMore(used: readonly number[], index: number): readonly number[] {
  const copy = used.slice();
  while (copy.length <= index) copy.push(0);
  copy[index]! += 1;
  return copy;
}

interface HistoryEvent {
  readonly operation: Operation;
  readonly at: number;
  readonly returns: boolean;
}

/** Calls and returns in the order of time; at one instant calls come first, which only allows more. */
function eventsOf(operations: readonly Operation[]): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  for (const operation of operations) {
    events.push({ operation, at: operation.invokedAt, returns: false });
    if (operation.outcome === "done") events.push({ operation, at: operation.returnedAt, returns: true });
  }
  return events.sort((a, b) => a.at - b.at || Number(a.returns) - Number(b.returns));
}
