/** What clients did to keys and what they were told, and how that reads. `linearizability.ts` judges it. */

/** What an operation does, and what the client was told. Values are strings; `undefined` is "no such key". */
export type Action =
  /** `expiry`: its time to live in milliseconds, or `keep` for the deadline that the key had. Whoever judges does not look at it. */
  | { readonly kind: "put"; readonly value: string; readonly expiry?: number | "keep" }
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

/** How many operations a report shows before the one that is impossible. */
const REPORT_OPERATIONS = 24;

/**
 * Why `culprit` breaks the history of its key, for people: what it saw, what it could have seen (`possible`), and the
 * operations around it.
 */
export function describeImpossible(
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
export function show({ client, action, outcome, invokedAt, returnedAt }: Operation): string {
  const end = outcome === "done" ? returnedAt.toFixed(3) : "...";
  const result = "result" in action && outcome === "done" ? ` → ${showValue(action.result)}` : "";
  const told = action.kind === "put" || outcome !== "done" ? ` ${outcome}` : result || " → absent";
  return `client ${client}  ${showCall(action)}${told}  [${invokedAt.toFixed(3)}, ${end}]`;
}

function showCall(action: Action): string {
  switch (action.kind) {
    case "put": {
      const until = action.expiry === undefined ? "" : ` for ${action.expiry} ms`;
      return `put ${JSON.stringify(action.value)}${until}`;
    }
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
