/** A stand-in for a node, for tests of the load generator: speaks the binary protocol and answers as it is told. */
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeRequest, encodeResponse } from "../../protocol/client.ts";
import { FrameReader } from "../../protocol/frame.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import { encodePreambleReply, PREAMBLE_BYTES } from "../../protocol/preamble.ts";
import { bunTransport } from "../../src/env/bun-transport.ts";
import type { Connection, Listener } from "../../src/env/env.ts";

/** The answer to a request; `undefined`: none, now or ever. */
export type Answer = (request: ClientRequest) => ClientResponse | undefined;

export interface FakeNode {
  readonly address: string;
  readonly port: number;
  /** May be replaced at any time. */
  answer: Answer;
  /** How many requests came, topology aside. */
  requests: number;
  /** Breaks all connections; new ones are accepted. */
  breakConnections(): void;
  close(): void;
}

interface State {
  readonly frames: FrameReader;
  greeting: Uint8Array | undefined;
}

/** Listens on `port` of the loopback address, 0 for any. */
export async function startFakeNode(answer: Answer, port = 0): Promise<FakeNode> {
  const connections = new Set<Connection>();
  const writer = new ByteWriter();
  const listener: Listener = await bunTransport().listen("127.0.0.1", port, {
    opened(connection) {
      connections.add(connection);
      connection.state = { frames: new FrameReader(CLIENT_FRAME_BYTES_MAX), greeting: new Uint8Array(0) };
    },
    received(connection, bytes) {
      const state = connection.state as State;
      let rest = bytes;
      if (state.greeting !== undefined) {
        state.greeting = Buffer.concat([state.greeting, bytes]);
        if (state.greeting.length < PREAMBLE_BYTES) return;
        rest = state.greeting.subarray(PREAMBLE_BYTES);
        state.greeting = undefined;
        connection.send(encodePreambleReply(undefined, 1));
      }
      state.frames.push(rest);
      for (let frame = state.frames.next(); frame !== undefined; frame = state.frames.next()) {
        const request = decodeRequest(frame);
        if (request.kind !== "topology") node.requests++;
        const response = node.answer(request);
        if (response !== undefined) encodeResponse(writer, response, frame.requestId);
      }
      if (writer.length > 0) connection.send(writer.view());
      writer.reset();
    },
    closed: (connection) => void connections.delete(connection),
  });
  const breakConnections = (): void => {
    for (const connection of connections) connection.destroy();
  };
  const node: FakeNode = {
    address: `127.0.0.1:${listener.port}`,
    port: listener.port,
    answer,
    requests: 0,
    breakConnections,
    close() {
      listener.close();
      breakConnections();
    },
  };
  return node;
}
