/**
 * Is a history linearizable? That is: is there one order of its operations, in which each takes effect at some instant
 * between its call and its return, that a single map in one place could have produced?
 *
 * The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993) in the just-in-time form of Lowe
 * ("Testing for linearizability", 2017), with Lowe's memoization. Keys are independent, so each is checked by itself. Time
 * is walked once, event by event, with the set of *configurations* that the past allows: the key's value, and which of the
 * operations still in flight have already taken effect. When an operation returns, each configuration is extended by
 * operations in flight until the one that returned has taken effect with the result that the client saw. A configuration
 * for which that is impossible is dropped; when none is left, no order explains the history.
 *
 * What keeps the set small:
 * - A read in flight that fits the value takes effect at once: it changes nothing, and to have it done is never worse.
 * - An operation with unknown outcome stays in flight for ever, and may never happen at all. So a configuration that has used
 *   fewer of them is at least as good as one that used more, and the worse one is dropped (`dominates`).
 * - Unknown operations that would do the same are interchangeable: they are counted, not told apart.
 * - Values that no operation ever looked for are one value: nobody could tell them apart.
 */

/** What an operation does, and what the client was told. Values are strings; `undefined` is "no such key". */
export type Action =
  | { readonly kind: "put"; readonly value: string }
  | { readonly kind: "get"; readonly result?: string | undefined }
  /** `result`: whether the key existed. */
  | { readonly kind: "delete"; readonly result?: boolean | undefined }
  /** `result`: the new value. A missing key counts as 0. */
  | { readonly kind: "increment"; readonly delta: bigint; readonly result?: bigint | undefined }
  /** `result`: whether it was swapped. */
  | {
      readonly kind: "cas";
      readonly expected: string | undefined;
      readonly value: string | undefined;
      readonly result?: boolean | undefined;
    };

/**
 * One operation of a history. `done`: it returned the action's `result`. `unknown`: it may have happened at any time after
 * `invokedAt`, or never. `failed`: it certainly did not happen. Times are milliseconds on one monotonic clock.
 */
export interface Operation {
  readonly client: number;
  readonly key: string;
  readonly action: Action;
  readonly outcome: "done" | "unknown" | "failed";
  readonly invokedAt: number;
  readonly returnedAt: number;
}

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

/** Configurations that one return may lead through before the search gives up. Honest histories stay below some hundreds. */
const CONFIGURATIONS_MAX = 500_000;

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

interface Flight {
  readonly operation: Operation;
  readonly bit: bigint;
}

/** Operations of unknown outcome that would all do the same. */
interface UnknownClass {
  readonly action: Action;
  readonly index: number;
  invoked: number;
}

class KeySearch {
  readonly #key: string;
  readonly #operations: readonly Operation[];
  readonly #values: ValueTable;
  readonly #writes: Flight[] = [];
  readonly #reads: Flight[] = [];
  readonly #unknown = new Map<string, UnknownClass>();
  readonly #freeSlots: number[] = [];
  #slots = 0;
  /** How many configurations the search went through. */
  configurations = 0;

  constructor(key: string, operations: readonly Operation[]) {
    this.#key = key;
    // What failed did not happen, and a read without an answer says nothing.
    this.#operations = operations.filter(
      ({ outcome, action }) => outcome === "done" || (outcome === "unknown" && action.kind !== "get"),
    );
    this.#values = new ValueTable(this.#operations);
  }

  run(): Violation | undefined {
    let frontier = new ConfigurationSet();
    frontier.add({ state: ABSENT, writes: 0n, reads: 0n, used: [] });
    const flights = new Map<Operation, Flight>();
    for (const { operation, returns } of eventsOf(this.#operations)) {
      if (operation.outcome === "unknown") this.#invokeUnknown(operation.action);
      else if (!returns) flights.set(operation, this.#invoke(operation));
      else {
        const flight = flights.get(operation)!;
        flights.delete(operation);
        const seen = new ConfigurationSet();
        frontier = this.#extend(frontier, flight, seen);
        this.#forget(flight);
        if (frontier.size === 0) return this.#violation(operation, seen);
      }
    }
    return undefined;
  }

  #invoke(operation: Operation): Flight {
    const slot = this.#freeSlots.pop() ?? this.#slots++;
    const flight = { operation, bit: 1n << BigInt(slot) };
    (changesNothing(operation.action) ? this.#reads : this.#writes).push(flight);
    return flight;
  }

  #forget(flight: Flight): void {
    const flights = changesNothing(flight.operation.action) ? this.#reads : this.#writes;
    flights.splice(flights.indexOf(flight), 1);
    this.#freeSlots.push(flight.bit.toString(2).length - 1);
  }

  #invokeUnknown(action: Action): void {
    const signature = this.#values.signature(action);
    const known = this.#unknown.get(signature);
    if (known === undefined) {
      this.#unknown.set(signature, { action, index: this.#unknown.size, invoked: 1 });
    } else known.invoked++;
  }

  /** All configurations, reached from `frontier`, in which `target` has just taken effect. `seen` collects all on the way. */
  #extend(frontier: ConfigurationSet, target: Flight, seen: ConfigurationSet): ConfigurationSet {
    const next = new ConfigurationSet();
    const queue: Configuration[] = [];
    const reach = (configuration: Configuration): void => {
      const settled = this.#settleReads(configuration);
      if (seen.add(settled)) queue.push(settled);
    };
    for (const configuration of frontier.all()) reach(configuration);
    for (let head = 0; head < queue.length; head++) {
      if (head > CONFIGURATIONS_MAX) {
        throw new UndecidedError(
          `key ${this.#key}: more than ${CONFIGURATIONS_MAX} configurations at ${show(target.operation)}`,
        );
      }
      this.configurations++;
      const { state, writes, reads, used } = queue[head]!;
      if (((writes | reads) & target.bit) !== 0n) {
        next.add({ state, writes: writes & ~target.bit, reads: reads & ~target.bit, used });
        continue;
      }
      for (const { operation, bit } of this.#writes) {
        if ((writes & bit) !== 0n) continue;
        const after = this.#values.apply(operation.action, state, true);
        if (after !== IMPOSSIBLE) reach({ state: after, writes: writes | bit, reads, used });
      }
      for (const { action, index, invoked } of this.#unknown.values()) {
        if ((used[index] ?? 0) >= invoked) continue;
        const after = this.#values.apply(action, state, false);
        if (after !== IMPOSSIBLE && after !== state)
          reach({ state: after, writes, reads, used: oneMore(used, index) });
      }
    }
    return next;
  }

  /** Lets every read in flight that fits the value take effect. */
  #settleReads(configuration: Configuration): Configuration {
    let reads = configuration.reads;
    for (const { operation, bit } of this.#reads) {
      if (
        (reads & bit) === 0n &&
        this.#values.apply(operation.action, configuration.state, true) !== IMPOSSIBLE
      )
        reads |= bit;
    }
    return reads === configuration.reads ? configuration : { ...configuration, reads };
  }

  #violation(operation: Operation, seen: ConfigurationSet): Violation {
    const possible = [...new Set(seen.all().map(({ state }) => state))]
      .sort((a, b) => a - b)
      .map((state) => this.#values.text(state));
    const report = describe(this.#key, operation, possible, this.#operations);
    return { key: this.#key, operation, possible, report };
  }
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

/** How many operations a report shows before the one that is impossible. */
const REPORT_OPERATIONS = 24;

function describe(
  key: string,
  culprit: Operation,
  possible: readonly (string | undefined)[],
  operations: readonly Operation[],
): string {
  const before = operations
    .filter((operation) => operation !== culprit && operation.invokedAt <= culprit.returnedAt)
    .sort((a, b) => a.invokedAt - b.invokedAt);
  const seen = soughtValue(culprit.action);
  const writers = seen === undefined ? [] : operations.filter((o) => o !== culprit && writes(o.action, seen));
  const window = new Set([...writers.slice(-3), ...before.slice(-REPORT_OPERATIONS), culprit]);
  const lines = [...window]
    .sort((a, b) => a.invokedAt - b.invokedAt)
    .map((operation) => `${operation === culprit ? ">" : " "} ${show(operation)}`);
  return [
    `not linearizable: key ${JSON.stringify(key)}: no order of the operations explains`,
    `  ${show(culprit)}`,
    `By then the key could have been: ${possible.map((value) => JSON.stringify(value) ?? "absent").join(", ")}.`,
    ...(seen !== undefined && writers.length === 0
      ? [`${JSON.stringify(seen)} was never written by a put or a compare-and-set.`]
      : []),
    `The operations around it (milliseconds from call to return; ${before.length} came before):`,
    ...lines,
  ].join("\n");
}

/** The value that an action claims to have found. */
function soughtValue(action: Action): string | undefined {
  if (action.kind === "get") return action.result;
  return action.kind === "cas" && action.result === true ? action.expected : undefined;
}

function writes(action: Action, value: string): boolean {
  return (
    ((action.kind === "put" || action.kind === "cas") && action.value === value) ||
    (action.kind === "increment" && action.result?.toString() === value)
  );
}

/** One operation on a line: `client 3  put "a"  unknown  [12.1, ...]`. */
function show({ client, action, outcome, invokedAt, returnedAt }: Operation): string {
  const end = outcome === "done" ? returnedAt.toFixed(3) : "...";
  const result = "result" in action && outcome === "done" ? ` → ${showValue(action.result)}` : "";
  const told = action.kind === "put" || outcome !== "done" ? ` ${outcome}` : result || " → absent";
  return `client ${client}  ${showCall(action)}${told}  [${invokedAt.toFixed(3)}, ${end}]`;
}

function showCall(action: Action): string {
  switch (action.kind) {
    case "put":
      return `put ${JSON.stringify(action.value)}`;
    case "cas":
      return `cas ${showValue(action.expected)} to ${showValue(action.value)}`;
    case "increment":
      return `increment by ${action.delta}`;
    default:
      return action.kind;
  }
}

function showValue(value: string | bigint | boolean | undefined): string {
  if (value === undefined) return "absent";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
