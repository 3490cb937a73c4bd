import type { ClientResponse } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import { unreachable } from "../lib/assert.ts";
import { SHAPE, type Shape } from "./text-command.ts";
import { errorText } from "./text-errors.ts";

/** Writes the response to a single request as its command wants it; errors, and what does not fit, as an error. */
export function writeResponse(writer: RespWriter, shape: Shape, response: ClientResponse): void {
  switch (shape) {
    case SHAPE.okOrMissing:
      if (response.kind !== "boolean") break;
      if (response.value) writer.simple("OK");
      else writer.nullBulk();
      return;
    case SHAPE.value:
    case SHAPE.oldValue:
      if (response.kind !== "value") break;
      if (response.value === undefined) writer.nullBulk();
      else writer.bulk(response.value);
      return;
    case SHAPE.flag:
      if (response.kind !== "boolean") break;
      writer.integer(response.value ? 1 : 0);
      return;
    case SHAPE.integer:
      if (response.kind !== "integer") break;
      writer.integer(response.value);
      return;
    case SHAPE.seconds:
      if (response.kind !== "integer") break;
      writer.integer(response.value < 0n ? response.value : (response.value + 500n) / 1000n);
      return;
    case SHAPE.length:
      if (response.kind !== "value") break;
      writer.integer(response.value?.length ?? 0);
      return;
    case SHAPE.type:
      if (response.kind !== "boolean") break;
      writer.simple(response.value ? "string" : "none");
      return;
    default:
      unreachable(shape, "cannot write a response");
  }
  writer.error(errorText(response));
}
