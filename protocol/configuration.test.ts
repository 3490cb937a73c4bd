import { expect, test } from "bun:test";
import { CONFIGURATION_NODES_MAX, decodeConfiguration, encodeConfiguration } from "./configuration.ts";
import { ProtocolError } from "./errors.ts";
import { nodeId } from "./ids.ts";

const [n1, n2, n3] = ["n1", "n2", "n3"].map(nodeId) as [never, never, never];

test("a configuration is three lists of names", () => {
  const configuration = { voters: [n1, n2], outgoing: [n1, n3], learners: [] };
  const bytes = encodeConfiguration(configuration);
  expect(Buffer.from(bytes).toString("hex")).toBe("8382626e31626e3282626e31626e3380");
  expect(decodeConfiguration(bytes)).toEqual(configuration);
});

test("what is none is refused", () => {
  const many = Array.from({ length: CONFIGURATION_NODES_MAX + 1 }, (_, i) => nodeId(`n${i}`));
  const broken = [
    new Uint8Array(0),
    new Uint8Array([0x82, 0x80, 0x80]),
    new Uint8Array([0x83, 0x80, 0x80, 0x80, 0x00]),
    new Uint8Array([0x83, 0x81, 0x60, 0x80, 0x80]),
    encodeConfiguration({ voters: [n1, n1], outgoing: [], learners: [] }),
    encodeConfiguration({ voters: [nodeId("a b")], outgoing: [], learners: [] }),
    encodeConfiguration({ voters: many, outgoing: [], learners: [] }),
  ];
  for (const bytes of broken) expect(() => decodeConfiguration(bytes)).toThrow(ProtocolError);
});
