import { expect, test } from "bun:test";
import { utf8 } from "../../src/lib/bytes.ts";
import { RespParser } from "./resp-parser.ts";

const STREAM =
  "+OK\r\n$-1\r\n$5\r\nhello\r\n:42\r\n-ERR no such thing\r\n_\r\n$0\r\n\r\n$4\r\n\r\n\r\n\r\n+OK\r\n";
const EXPECTED = ["+", "nil", "+", "+", "ERR no such thing", "nil", "+", "+", "+"];

function parse(chunks: readonly Uint8Array[]): string[] {
  const seen: string[] = [];
  const parser = new RespParser();
  for (const chunk of chunks) {
    parser.push(chunk, {
      answered: (found) => void seen.push(found ? "+" : "nil"),
      refused: (error) => void seen.push(error),
    });
  }
  return seen;
}

test("reads all replies of one chunk", () => {
  expect(parse([utf8(STREAM)])).toEqual(EXPECTED);
});

test("reads the same whatever the chunks are", () => {
  const bytes = utf8(STREAM);
  for (let size = 1; size < 12; size++) {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
    expect(parse(chunks)).toEqual(EXPECTED);
  }
});

test("refuses what is no reply", () => {
  expect(() => parse([utf8("HTTP/1.1 400 Bad Request\r\n")])).toThrow(
    'a reply began with "HTTP/1.1 400 Bad Request"',
  );
  expect(() => parse([utf8("$1x\r\n")])).toThrow("a bulk string has length 1x");
  expect(() => parse([new Uint8Array(70_000).fill(65)])).toThrow("a line of more than 65536 bytes");
});
