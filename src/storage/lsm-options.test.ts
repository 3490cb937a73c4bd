import { expect, test } from "bun:test";
import { lsmOptions, tableOptions } from "./lsm-options.ts";
import { StorageError } from "./storage-error.ts";

test("tables are compressed as their level says, and the deeper ones as the last level that is said", () => {
  const levels = (compression: Parameters<typeof lsmOptions>[0]["compression"]): string[] => {
    const options = lsmOptions(compression === undefined ? {} : { compression });
    return [0, 1, 2, 6].map((level) => tableOptions(options, level).compression);
  };
  expect(levels(undefined)).toEqual(["none", "none", "none", "none"]);
  expect(levels("zstd")).toEqual(["zstd", "zstd", "zstd", "zstd"]);
  expect(levels(["none", "none", "zstd"])).toEqual(["none", "none", "zstd", "zstd"]);
});

test("options that can't be are refused", () => {
  expect(() => lsmOptions({ compression: [] })).toThrow("compression names at least one");
  expect(() => lsmOptions({ compression: "lz4" as "zstd" })).toThrow("compression is none or zstd");
  expect(() => lsmOptions({ partitionBytes: 0 })).toThrow("partitionBytes is above zero");
  expect(() => lsmOptions({ openTables: 0 })).toThrow("openTables is above zero");
});

test("an option that is no number, or does not fit with the others, is refused by its name", () => {
  expect(() => lsmOptions({ blockCacheBytes: Number.NaN })).toThrow("blockCacheBytes is NaN");
  expect(() => lsmOptions({ blockCacheBytes: -1 })).toThrow("blockCacheBytes is -1");
  expect(() => lsmOptions({ retryMs: "1" as never })).toThrow("retryMs is 1");
  expect(() => lsmOptions({ memtableBytes: 2 ** 31 })).toThrow("has room for what is written at once");
  expect(() => lsmOptions({ valueBytesMax: 2 ** 30 })).toThrow("a batch has room for a value");
  let code: unknown;
  try {
    lsmOptions({ memtableBytes: 0 });
  } catch (error) {
    code = error instanceof StorageError ? error.code : error;
  }
  expect(code).toBe("INVALID");
});
