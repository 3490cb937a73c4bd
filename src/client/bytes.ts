import { utf8 } from "../lib/bytes.ts";

/** A key or a value: bytes, or text that stands for its UTF-8 bytes. */
export type Bytes = string | Uint8Array;

export const toBytes = (value: Bytes): Uint8Array => (typeof value === "string" ? utf8(value) : value);
