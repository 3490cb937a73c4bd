import { describe, expect, test } from "bun:test";
import { Encoder } from "cbor-x/encode";
import fc from "fast-check";
import { ByteWriter, CborReader } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { written } from "./test-frames.ts";
import { int64, wholeNumber } from "./test-values.ts";

const oracle = new Encoder({ useRecords: false, tagUint8Array: false, variableMapSize: true });

/** cbor-x writes numbers above 2^32 as floating point; as BigInt it writes them as integers. */
const integer = (value: number | bigint) =>
  BigInt(value) >= 2n ** 32n || BigInt(value) < -(2n ** 31n) ? BigInt(value) : Number(value);

type Item =
  | { readonly kind: "uint"; readonly value: number }
  | { readonly kind: "int"; readonly value: bigint }
  | { readonly kind: "bytes"; readonly value: Uint8Array }
  | { readonly kind: "text"; readonly value: string }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "nil"; readonly value: null };

const anyItem: fc.Arbitrary<Item> = fc.oneof(
  fc.record({ kind: fc.constant("uint" as const), value: wholeNumber }),
  fc.record({ kind: fc.constant("int" as const), value: int64 }),
  fc.record({ kind: fc.constant("bytes" as const), value: fc.uint8Array({ maxLength: 400 }) }),
  fc.record({
    kind: fc.constant("text" as const),
    value: fc.string({ unit: "grapheme", maxLength: 300 }),
  }),
  fc.record({ kind: fc.constant("bool" as const), value: fc.boolean() }),
  fc.record({ kind: fc.constant("nil" as const), value: fc.constant(null) }),
);

function write(writer: ByteWriter, item: Item): void {
  switch (item.kind) {
    case "uint":
      writer.uint(item.value);
      break;
    case "int":
      writer.int(item.value);
      break;
    case "bytes":
      writer.bytes(item.value);
      break;
    case "text":
      writer.text(item.value);
      break;
    case "bool":
      writer.bool(item.value);
      break;
    case "nil":
      writer.nil();
      break;
  }
}

function read(reader: CborReader, item: Item): unknown {
  switch (item.kind) {
    case "uint":
      return reader.uint();
    case "int":
      return reader.int();
    case "bytes":
      return reader.bytes();
    case "text":
      return reader.text();
    case "bool":
      return reader.bool();
    case "nil":
      return reader.bytesOrNil() ?? null;
  }
}

const oracleValue = (item: Item) =>
  item.kind === "uint" || item.kind === "int" ? integer(item.value) : item.value;

/** Integers in the narrowest form that cbor-x has: its BigInts are always eight bytes wide. */
const fitsOracle = (item: Item) =>
  !(item.kind === "int" && item.value < -(2n ** 31n) && item.value >= -(2n ** 32n));

/** Through a writer that has to grow. */
const grown = (build: (writer: ByteWriter) => void): Uint8Array => written(build, new ByteWriter(8));

const failure = (run: () => unknown): ProtocolError => {
  try {
    run();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};

describe("with cbor-x as the oracle", () => {
  test("the same bytes come out", () => {
    fc.assert(
      fc.property(fc.array(anyItem.filter(fitsOracle), { maxLength: 40 }), (items) => {
        const ours = grown((writer) => {
          writer.arrayHeader(items.length);
          for (const item of items) write(writer, item);
        });
        expect(ours).toEqual(new Uint8Array(oracle.encode(items.map(oracleValue))));
      }),
    );
  });

  test("what cbor-x writes is read", () => {
    fc.assert(
      fc.property(fc.array(anyItem, { maxLength: 40 }), (items) => {
        const encoded = new Uint8Array(oracle.encode(items.map(oracleValue)));
        const reader = new CborReader(encoded);
        expect(reader.arrayHeader()).toBe(items.length);
        for (const item of items) expect(read(reader, item)).toEqual(item.value);
        reader.expectEnd();
      }),
    );
  });

  test("cbor-x reads what we write, arrays without a length included", () => {
    fc.assert(
      fc.property(fc.array(anyItem, { maxLength: 40 }), (items) => {
        const ours = grown((writer) => {
          writer.beginArray();
          for (const item of items) write(writer, item);
          writer.endArray();
        });
        const values: unknown[] = oracle.decode(ours);
        // An integer of eight bytes comes back as a BigInt, which toEqual tells from a number.
        const digits = (value: unknown) =>
          typeof value === "bigint" || typeof value === "number" ? String(value) : value;
        expect(values.map(digits)).toEqual(items.map((item) => digits(item.value)));
      }),
    );
  });
});

describe("ByteWriter", () => {
  test("integers take the shortest form at every border", () => {
    const cases: [number | bigint, string][] = [
      [0, "00"],
      [23, "17"],
      [24, "1818"],
      [255, "18ff"],
      [256, "190100"],
      [65_535, "19ffff"],
      [65_536, "1a00010000"],
      [2 ** 32 - 1, "1affffffff"],
      [2 ** 32, "1b0000000100000000"],
      [2 ** 53 - 1, "1b001fffffffffffff"],
      [2n ** 64n - 1n, "1bffffffffffffffff"],
      [-1, "20"],
      [-24, "37"],
      [-25, "3818"],
      [-(2 ** 32), "3affffffff"],
      [-(2n ** 63n), "3b7fffffffffffffff"],
      [-(2n ** 64n), "3bffffffffffffffff"],
    ];
    for (const [value, hex] of cases) {
      const bytes = grown((writer) => writer.int(value));
      expect(Buffer.from(bytes).toString("hex")).toBe(hex);
      expect(new CborReader(bytes).int()).toBe(BigInt(value));
    }
  });

  test("grows, is patched and truncated", () => {
    const writer = new ByteWriter(1);
    writer.u32(0);
    writer.u16(0x0102);
    writer.append(Uint8Array.of(3, 4, 5));
    writer.u8(6);
    writer.ascii("ab\xff");
    writer.patchU32(0, 0xfffefdfc);
    expect(Buffer.from(writer.view()).toString("hex")).toBe("fffefdfc0102030405066162ff");
    writer.truncate(4);
    writer.u8(9);
    expect(Buffer.from(writer.view(3)).toString("hex")).toBe("fc09");
  });

  test("gives back the memory of one huge reply, and keeps that of ordinary ones", () => {
    const writer = new ByteWriter();
    writer.append(new Uint8Array(100_000));
    writer.reset();
    const ordinary = writer.capacity;
    expect(ordinary).toBeGreaterThanOrEqual(100_000);
    writer.append(new Uint8Array(8 * 1024 * 1024));
    writer.reset();
    expect(writer.length).toBe(0);
    expect(writer.capacity).toBeLessThan(ordinary);
  });

  test("refuses numbers that would be written wrongly", () => {
    const writer = new ByteWriter();
    for (const wrong of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(() => writer.uint(wrong)).toThrow(/unsigned integer/);
    }
    expect(() => writer.int(0.5)).toThrow(/integer/);
    expect(() => writer.int(2n ** 64n)).toThrow(/64 bits/);
    expect(writer.length).toBe(0);
  });
});

describe("CborReader", () => {
  const hex = (text: string) => new CborReader(new Uint8Array(Buffer.from(text, "hex")));

  test("says what it found, and where", () => {
    const cases: [() => unknown, RegExp][] = [
      [() => hex("").uint(), /found the end of the input instead of an unsigned integer at offset 0/],
      [() => hex("19ff").uint(), /the end of the input instead of an unsigned integer at offset 0/],
      [() => hex("1b0020000000000000").uint(), /number is above 2\^53 - 1 at offset 0/],
      [() => hex("20").uint(), /byte 0x20 instead of an unsigned integer/],
      [() => hex("1c").uint(), /byte 0x1c instead of/],
      [() => hex("1f").uint(), /byte 0x1f instead of/],
      [() => hex("43aabb").bytes(), /a byte string of 3 bytes where 2 are left at offset 0/],
      [() => hex("5f41aaff").bytes(), /byte 0x5f instead of a byte string/],
      [() => hex("5b001fffffffffffff").bytes(), /a byte string of 9007199254740991 bytes/],
      [() => hex("83f6f6").arrayHeader(), /an array of 3 items in 2 bytes at offset 0/],
      [() => hex("9b001fffffffffffff00").arrayHeader(), /an array of 9007199254740991 items in 1 bytes/],
      [() => hex("62c328").text(), /a text string that is not UTF-8 at offset 0/],
      [() => hex("f6").bool(), /byte 0xf6 instead of true or false/],
      [() => hex("").bool(), /the end of the input instead of true or false/],
      [() => hex("3b00").int(), /the end of the input instead of an integer/],
      [() => hex("40").int(), /byte 0x40 instead of an integer/],
      [() => hex("").atBreak(), /the end of the input inside of an array/],
      [() => hex("00").expectEnd(), /1 bytes after the last item at offset 0/],
    ];
    for (const [run, sentence] of cases) {
      const error = failure(run);
      expect(error.error).toBe("BAD_REQUEST");
      expect(error.message).toMatch(sentence);
    }
  });

  test("offsets count from the start that was given, and the end is respected", () => {
    const reader = new CborReader(Uint8Array.of(0xff, 0xff, 0x01, 0x41, 0x07), 2, 4);
    expect(reader.uint()).toBe(1);
    expect(failure(() => reader.bytes()).message).toContain("at offset 1");
    reader.reset(Uint8Array.of(0x05));
    expect(reader.uint()).toBe(5);
    expect(reader.remaining).toBe(0);
  });

  test("byte strings are views of the input", () => {
    const input = Uint8Array.of(0x42, 1, 2);
    const bytes = new CborReader(input).bytes();
    expect(bytes).toEqual(Uint8Array.of(1, 2));
    expect(bytes.buffer).toBe(input.buffer);
  });

  test("every cut of a valid item is refused", () => {
    fc.assert(
      fc.property(anyItem, fc.nat(), (item, at) => {
        const whole = grown((writer) => write(writer, item));
        const cut = whole.subarray(0, at % whole.length);
        expect(() => {
          const reader = new CborReader(cut);
          read(reader, item);
        }).toThrow(ProtocolError);
      }),
    );
  });

  test("longer forms than needed are read", () => {
    expect(hex("1b0000000000000007").uint()).toBe(7);
    expect(hex("3b0000000000000006").int()).toBe(-7n);
    expect(hex("5a00000001aa").bytes()).toEqual(Uint8Array.of(0xaa));
  });

  test("a byte order mark is part of a text", () => {
    const bytes = grown((writer) => writer.text("\ufeffx"));
    expect(new CborReader(bytes).text()).toBe("\ufeffx");
  });
});
