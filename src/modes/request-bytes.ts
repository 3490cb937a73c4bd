/** What requests take in memory while they wait. */
import type { ReadRequest, WriteRequest } from "../../protocol/messages.ts";

/** What a request takes beside its keys and values, roughly. */
export const REQUEST_BYTES = 256;
/** A request may keep a buffer from being freed that has so many times the bytes that it counts as. */
const PINNED_TIMES_MAX = 2;

/**
 * About how many bytes a request takes. Its keys and values are views of what arrived, mostly, with other requests before and
 * behind them: what it keeps from being freed may be much more (`unpinned`).
 */
export function bytesOfRequest(request: WriteRequest | ReadRequest): number {
  switch (request.kind) {
    case "put":
    case "putWith":
      return REQUEST_BYTES + request.key.length + request.value.length;
    case "compareAndSet":
      return (
        REQUEST_BYTES + request.key.length + (request.expected?.length ?? 0) + (request.value?.length ?? 0)
      );
    case "batch": {
      let bytes = REQUEST_BYTES;
      for (const { key, value } of request.entries) bytes += key.length + value.length;
      return bytes;
    }
    case "openSession":
      return REQUEST_BYTES;
    case "scan":
      return REQUEST_BYTES + request.start.length + (request.end?.length ?? 0);
    default:
      return "key" in request ? REQUEST_BYTES + request.key.length : REQUEST_BYTES;
  }
}

/**
 * The request, or an equal one with a copy of its bytes if it keeps a buffer from being freed that is much larger than
 * `bytesOfRequest` says: for what is held longer than the others that arrived with it.
 */
export function unpinned(request: WriteRequest | ReadRequest): WriteRequest | ReadRequest {
  const bytes = bytesOfRequest(request);
  let pinned = 0;
  withBytes(request, (view) => {
    pinned = Math.max(pinned, view.buffer.byteLength);
    return view;
  });
  if (pinned <= PINNED_TIMES_MAX * bytes) return request;
  const own = new Uint8Array(bytes - REQUEST_BYTES);
  let end = 0;
  return withBytes(request, (view) => {
    const begin = end;
    end += view.length;
    own.set(view, begin);
    return own.subarray(begin, end);
  });
}

/** The request with what `change` makes of each of its keys and values. */
function withBytes(
  request: WriteRequest | ReadRequest,
  change: (bytes: Uint8Array) => Uint8Array,
): WriteRequest | ReadRequest {
  const perhaps = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : change(bytes));
  switch (request.kind) {
    case "put":
    case "putWith":
      return { ...request, key: change(request.key), value: change(request.value) };
    case "compareAndSet": {
      const { key, expected, value } = request;
      return { ...request, key: change(key), expected: perhaps(expected), value: perhaps(value) };
    }
    case "batch": {
      const entries = request.entries.map(({ key, value }) => ({ key: change(key), value: change(value) }));
      return { ...request, entries };
    }
    case "scan":
      return { ...request, start: change(request.start), end: perhaps(request.end) };
    case "openSession":
    case "openSnapshot":
      return request;
    default:
      return { ...request, key: change(request.key) };
  }
}
