import type { ReadRequest, WriteRequest } from "../../protocol/messages.ts";

/** What a request takes beside its keys and values, roughly. */
const REQUEST_BYTES = 256;

/** About how many bytes of memory a request keeps from being freed as long as somebody holds it. */
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
