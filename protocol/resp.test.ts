import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { concatBytes, fromUtf8, utf8 } from "../src/lib/bytes.ts";
import { ByteWriter } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { RESP_LIMITS, type RespCommand, type RespLimits, RespReader, RespWriter } from "./resp.ts";

function all(reader: RespReader): RespCommand[] {
  const commands: RespCommand[] = [];
  for (let next = reader.next(); next !== undefined; next = reader.next()) commands.push(next);
  return commands;
}

function read(text: string, limits?: RespLimits): string[][] {
  const reader = new RespReader(limits);
  reader.push(Buffer.from(text, "latin1"));
  return all(reader).map((command) => command.map((part) => Buffer.from(part).toString("latin1")));
}

function refusal(text: string, limits?: RespLimits): string {
  try {
    read(text, limits);
  } catch (error) {
    if (error instanceof ProtocolError) return error.message;
    throw error;
  }
  return "nothing was thrown";
}

const multibulk = (parts: readonly Uint8Array[]): Uint8Array =>
  concatBytes([
    utf8(`*${parts.length}\r\n`),
    ...parts.flatMap((part) => [utf8(`$${part.length}\r\n`), part, utf8("\r\n")]),
  ]);

describe("RespReader", () => {
  test("reads commands as they were sent, however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.uint8Array({ maxLength: 100 }), { minLength: 1, maxLength: 6 }), {
          maxLength: 12,
        }),
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }),
        (commands, sizes) => {
          const stream = concatBytes(commands.map(multibulk));
          const reader = new RespReader();
          const arrived: RespCommand[] = [];
          for (let at = 0, i = 0; at < stream.length; i++) {
            const size = sizes[i % sizes.length]!;
            reader.push(stream.slice(at, at + size));
            at += size;
            arrived.push(...all(reader));
          }
          expect(arrived.map((command) => command.map((part) => part.slice()))).toEqual(commands);
          expect(reader.bufferedBytes).toBe(0);
        },
      ),
    );
  });

  test("inline commands, mixed with arrays, empty lines and empty arrays", () => {
    expect(read("PING\r\nSET  k\t v \n\r\n\n*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\nGET k\n")).toEqual([
      ["PING"],
      ["SET", "k", "v"],
      ["PING"],
      ["GET", "k"],
    ]);
  });

  test("inline quotes", () => {
    const escapes = String.raw`E "\n\r\t\b\a\x41\xfF\xg1\q\"\\" '\'\n' ""`;
    expect(read(`SET "a b" 'c d'\n`)).toEqual([["SET", "a b", "c d"]]);
    expect(read(`${escapes}\n`)).toEqual([["E", '\n\r\t\b\x07A\xffxg1q"\\', "'\\n", ""]]);
    expect(read(`a"b c"\r\n`)).toEqual([["ab c"]]);
    for (const line of [`"open`, `'open`, `"a"b`, `'a'b`, `"a\\`, `x "`]) {
      expect(refusal(`${line}\r\n`)).toBe("Protocol error: unbalanced quotes in request");
    }
  });

  test("errors are those of Redis", () => {
    const cases: [string, string][] = [
      ["*abc\r\n", "invalid multibulk length"],
      ["*\r\n", "invalid multibulk length"],
      ["*01\r\n", "invalid multibulk length"],
      ["*+1\r\n", "invalid multibulk length"],
      ["*1 \r\n", "invalid multibulk length"],
      ["*-0\r\n", "invalid multibulk length"],
      ["*99999999999999999999\r\n", "invalid multibulk length"],
      ["*1048577\r\n", "invalid multibulk length"],
      ["*1\r\n+OK\r\n", "expected '$', got '+'"],
      ["*1\r\nx\r\n", "expected '$', got 'x'"],
      ["*1\r\n$-1\r\n", "invalid bulk length"],
      ["*1\r\n$x\r\n", "invalid bulk length"],
      ["*1\r\n$8388609\r\n", "invalid bulk length"],
      ["x".repeat(65_537), "too big inline request"],
      [`*${"1".repeat(65_537)}`, "too big mbulk count string"],
      [`*1\r\n$${"1".repeat(65_537)}`, "too big bulk count string"],
    ];
    for (const [text, message] of cases) expect(refusal(text)).toBe(`Protocol error: ${message}`);
  });

  test("as lenient as Redis: what follows a CR or a bulk string is not checked", () => {
    expect(read("*1\rX$4\rXPINGxy*1\r\n$2\r\nhi\r\n")).toEqual([["PING"], ["hi"]]);
  });

  test("a line with a length needs its LF before it counts", () => {
    const reader = new RespReader();
    reader.push(utf8("*1\r"));
    expect(reader.next()).toBeUndefined();
    reader.push(utf8("\n$4\r\nPIN"));
    expect(reader.next()).toBeUndefined();
    reader.push(utf8("G\r"));
    expect(reader.next()).toBeUndefined();
    reader.push(utf8("\n"));
    expect(all(reader).map((command) => command.map(fromUtf8))).toEqual([["PING"]]);
  });

  test("commands before the broken one are still served", () => {
    const reader = new RespReader();
    reader.push(utf8("PING\r\n*x\r\n"));
    expect(reader.next()).toHaveLength(1);
    expect(() => reader.next()).toThrow(ProtocolError);
  });

  test("a command as a whole is bounded", () => {
    const limits = { ...RESP_LIMITS, commandBytesMax: 100 };
    expect(refusal(`*2\r\n$50\r\n${"x".repeat(50)}\r\n$50\r\n`, limits)).toBe(
      "Protocol error: too big command, more than 100 bytes",
    );
  });

  test("commands that were handed out keep their bytes when more comes", () => {
    const reader = new RespReader();
    const stream = concatBytes(
      Array.from({ length: 50 }, (_, i) =>
        multibulk([utf8("SET"), utf8(`key${i}`), new Uint8Array(100).fill(i)]),
      ),
    );
    const commands: RespCommand[] = [];
    for (let at = 0; at < stream.length; at += 37) {
      reader.push(stream.slice(at, at + 37));
      commands.push(...all(reader));
    }
    expect(commands).toHaveLength(50);
    commands.forEach((command, i) => {
      expect(fromUtf8(command[1]!)).toBe(`key${i}`);
      expect(command[2]).toEqual(new Uint8Array(100).fill(i));
    });
  });

  test("a large value that comes in small pieces is read in linear time", () => {
    const value = new Uint8Array(1024 * 1024).fill(0x2a);
    const stream = multibulk([utf8("SET"), utf8("k"), value]);
    const reader = new RespReader();
    const started = performance.now();
    for (let at = 0; at < stream.length - 1; at++) {
      reader.push(stream.subarray(at, at + 1));
      if (reader.next() !== undefined) throw new Error("too early");
    }
    reader.push(stream.subarray(stream.length - 1));
    expect(reader.next()?.[2]).toEqual(value);
    // About 0.2 s; copying or searching anew at each byte would take minutes.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe("RespWriter", () => {
  function written(version: 2 | 3, build: (writer: RespWriter) => void): string {
    const out = new ByteWriter();
    const writer = new RespWriter(out);
    writer.protocolVersion = version;
    build(writer);
    return fromUtf8(out.view());
  }

  test("writes each type in both versions", () => {
    const cases: [(writer: RespWriter) => void, string, string][] = [
      [(w) => w.simple("OK"), "+OK\r\n", "+OK\r\n"],
      [(w) => w.error("ERR two\r\nlines"), "-ERR two  lines\r\n", "-ERR two  lines\r\n"],
      [(w) => w.simple("grün"), "+grün\r\n", "+grün\r\n"],
      [(w) => w.integer(-5), ":-5\r\n", ":-5\r\n"],
      [(w) => w.integer(2n ** 63n - 1n), ":9223372036854775807\r\n", ":9223372036854775807\r\n"],
      [(w) => w.bulk(utf8("ab")), "$2\r\nab\r\n", "$2\r\nab\r\n"],
      [(w) => w.bulk(new Uint8Array(0)), "$0\r\n\r\n", "$0\r\n\r\n"],
      [(w) => w.text("ü"), "$2\r\nü\r\n", "$2\r\nü\r\n"],
      [(w) => w.nullBulk(), "$-1\r\n", "_\r\n"],
      [(w) => w.arrayHeader(3), "*3\r\n", "*3\r\n"],
      [(w) => w.mapHeader(7), "*14\r\n", "%7\r\n"],
      [(w) => w.setHeader(7), "*7\r\n", "~7\r\n"],
      [(w) => w.boolean(true), ":1\r\n", "#t\r\n"],
      [(w) => w.boolean(false), ":0\r\n", "#f\r\n"],
      [(w) => w.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"],
      [(w) => w.double(Number.NEGATIVE_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"],
      [(w) => w.verbatim("a\r\nb"), "$4\r\na\r\nb\r\n", "=8\r\ntxt:a\r\nb\r\n"],
    ];
    for (const [build, two, three] of cases) {
      expect(written(2, build)).toBe(two);
      expect(written(3, build)).toBe(three);
    }
  });
});
