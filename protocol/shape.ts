/**
 * Shapes: what turns plain data that a stranger sent into a value of a type, field by field, or refuses it with the
 * path to what is wrong. Fields that a shape doesn't name are left out of its result, so that a newer node may send more.
 */

import { ProtocolError } from "./errors.ts";
import { isNodeId, type NodeId } from "./ids.ts";

/** Returns `value` as a T. Throws `ProtocolError` (BAD_REQUEST) that names `path`. */
export type Shape<T> = (value: unknown, path: string) => T;

export const text: Shape<string> = (value, path) =>
  typeof value === "string" ? value : refuse(value, path, "text");

/** Integers of eight bytes are BigInts where they come from. */
export const number: Shape<number> = (value, path) => {
  if (typeof value === "number") return value;
  const converted = typeof value === "bigint" ? Number(value) : Number.NaN;
  return Number.isSafeInteger(converted) ? converted : refuse(value, path, "a number");
};

export const boolean: Shape<boolean> = (value, path) =>
  typeof value === "boolean" ? value : refuse(value, path, "true or false");

export const node: Shape<NodeId> = (value, path) =>
  typeof value === "string" && isNodeId(value) ? value : refuse(value, path, "a node id");

/** A whole number from `min` to `max`. */
export function whole(min: number, max: number): Shape<number> {
  return (value, path) => {
    const found = number(value, path);
    return Number.isInteger(found) && found >= min && found <= max
      ? found
      : refuse(value, path, `a whole number from ${min} to ${max}`);
  };
}

export function oneOf<const T extends string>(...allowed: readonly T[]): Shape<T> {
  return (value, path) =>
    allowed.find((candidate) => candidate === value) ?? refuse(value, path, `one of ${allowed.join(", ")}`);
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, path) => (value === null ? null : shape(value, path));
}

export function list<T>(shape: Shape<T>): Shape<readonly T[]> {
  return (value, path) =>
    Array.isArray(value)
      ? value.map((item, index) => shape(item, `${path}[${index}]`))
      : refuse(value, path, "an array");
}

/** An object with any names that have the one shape, whose values have the other. */
export function dictionary<T>(name: Shape<string>, shape: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
      return refuse(value, path, "a map");
    }
    for (const [key, item] of Object.entries(value)) {
      name(key, path);
      shape(item, `${path}.${key}`);
    }
    return value as Record<string, T>;
  };
}

/** An object whose fields have the given shapes. */
export function record<T>(fields: { readonly [Name in keyof T]: Shape<T[Name]> }): Shape<T> {
  const names = Object.keys(fields) as (keyof T & string)[];
  return (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
      return refuse(value, path, "a map");
    }
    const result: Partial<T> = {};
    for (const name of names) {
      result[name] = fields[name]((value as Record<string, unknown>)[name], `${path}.${name}`);
    }
    return result as T;
  };
}

function refuse(value: unknown, path: string, wanted: string): never {
  const found = value === undefined ? "nothing" : value === null ? "null" : describe(value);
  throw new ProtocolError("BAD_REQUEST", `malformed body: ${path} is ${found} instead of ${wanted}`);
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 64));
  if (typeof value === "object") return Array.isArray(value) ? "an array" : "a map or bytes";
  return String(value);
}
