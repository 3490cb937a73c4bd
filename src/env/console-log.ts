import { writeSync } from "node:fs";
import { LOG_LEVELS, type Log, type LogLevel } from "./env.ts";

type Fields = Readonly<Record<string, unknown>>;

/**
 * One line an event: `2026-01-31T12:00:00.000Z warn cannot reach n2 address=127.0.0.1:7002`. Lines below `level` cost
 * nothing. `write` gets whole lines; by default they go to standard error, and a line that nobody can take (a closed or
 * full pipe) is dropped, since a log must not stop a store.
 */
export function consoleLog(level: LogLevel, write: (line: string) => void = writeToStandardError): Log {
  const lowest = LOG_LEVELS.indexOf(level);
  const line = (of: LogLevel): Log["info"] =>
    LOG_LEVELS.indexOf(of) < lowest ? nothing : (message, fields) => write(formatLine(of, message, fields));
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

function nothing(): void {}

function formatLine(level: LogLevel, message: string, fields: Fields | undefined): string {
  let line = `${new Date().toISOString()} ${level} ${message.replaceAll(CONTROL, escapeControl)}`;
  for (const key in fields) {
    if (fields[key] !== undefined) line += ` ${key}=${formatValue(fields[key])}`;
  }
  return `${line}\n`;
}

/** What must not reach a terminal or break a line. */
const CONTROL = /\p{Cc}/gu;
const escapeControl = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
/** What can stand for itself; everything else is quoted. */
const PLAIN = /^[^\s"=\p{Cc}]+$/u;

function formatValue(value: unknown): string {
  const text = asText(value);
  return PLAIN.test(text) ? text : JSON.stringify(text).replaceAll(CONTROL, escapeControl);
}

function asText(value: unknown): string {
  if (value instanceof Error) return errorText(value);
  if (value instanceof Uint8Array) return `0x${Buffer.from(value).toString("hex")}`;
  if (typeof value !== "object" || value === null) return String(value);
  return JSON.stringify(value, (_key, inner) => (typeof inner === "bigint" ? String(inner) : inner)) ?? "";
}

/** The message, and why, down to the first cause; what a message says already is not said twice. */
function errorText(error: Error): string {
  if (!(error.cause instanceof Error)) return error.message;
  const why = errorText(error.cause);
  return error.message.includes(why) ? error.message : `${error.message}: ${why}`;
}

function writeToStandardError(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Dropped: see above.
  }
}
