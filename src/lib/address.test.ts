import { expect, test } from "bun:test";
import { formatAddress, parseAddress } from "./address.ts";

test("host names, IPv4 and bracketed IPv6 are read", () => {
  expect(parseAddress("localhost:7001")).toEqual({ host: "localhost", port: 7001 });
  expect(parseAddress("127.0.0.1:1")).toEqual({ host: "127.0.0.1", port: 1 });
  expect(parseAddress("[::1]:65535")).toEqual({ host: "::1", port: 65_535 });
});

test("what is written is what is read", () => {
  for (const text of ["localhost:7001", "127.0.0.1:1", "[::1]:65535"]) {
    expect(formatAddress(parseAddress(text)!)).toBe(text);
  }
});

test("anything else is refused", () => {
  for (const text of ["", "localhost", ":7001", "a:0", "a:65536", "::1:7001", "a b:1", "a:1x"]) {
    expect(parseAddress(text)).toBeUndefined();
  }
});
