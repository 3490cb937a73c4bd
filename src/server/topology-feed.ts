import type { ByteWriter } from "../../protocol/cbor.ts";
import { RESPONSE_TYPES } from "../../protocol/client.ts";
import { beginFrame, endFrame } from "../../protocol/frame.ts";
import type { ReplySink, RequestHandler } from "../../protocol/handler.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import { encodePlain } from "../../protocol/plain.ts";

/** A connection whose client wants to hear of every other topology. */
export interface TopologySubscriber {
  /** Of the topology that was sent last; `undefined`: none was. */
  readonly knownView: number | undefined;
  /** Sends a topology, unless so much waits for the client that it has to wait for a later turn. */
  pushTopology(news: TopologyNews): void;
}

/** One topology on its way to all subscribers: its body is encoded once. */
export interface TopologyNews {
  readonly view: number;
  readonly byteLength: number;
  write(writer: ByteWriter, requestId: number): void;
}

/** What all pushes of one sweep may add up to: with very many clients the news take a few sweeps to reach the last. */
const SWEEP_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Tells subscribers when the topology has changed: membership, replicas, leaders. It looks several times a second, so
 * that what changes in between (the elections after a node's death, say) is told in one push; and a client that has not
 * taken what was sent before gets the next one when it has, and only the latest: it costs the node no memory.
 */
export class TopologyFeed implements ReplySink {
  readonly #handler: RequestHandler;
  readonly #subscribers = new Set<TopologySubscriber>();
  #news: TopologyNews | undefined;

  constructor(handler: RequestHandler) {
    this.#handler = handler;
  }

  add(subscriber: TopologySubscriber): void {
    this.#subscribers.add(subscriber);
  }

  remove(subscriber: TopologySubscriber): void {
    this.#subscribers.delete(subscriber);
  }

  /** To be called several times a second. */
  sweep(): void {
    if (this.#subscribers.size === 0) return;
    this.#handler.execute(
      { kind: "topology", known: this.#news?.view, subscribe: false },
      this,
      0,
      "redirect",
    );
    const news = this.#news;
    if (news === undefined) return;
    let bytes = 0;
    for (const subscriber of this.#subscribers) {
      if (subscriber.knownView === news.view) continue;
      if (bytes > 0 && bytes + news.byteLength > SWEEP_BYTES_MAX) return;
      bytes += news.byteLength;
      subscriber.pushTopology(news);
    }
  }

  reply(_requestId: number, response: ClientResponse): void {
    if (response.kind !== "topology") return;
    const body = encodePlain(response.topology).slice();
    this.#news = {
      view: response.topology.view,
      byteLength: body.length,
      write: (writer, requestId) => {
        const mark = beginFrame(writer, RESPONSE_TYPES.topology, 0, requestId);
        writer.append(body);
        endFrame(writer, mark);
      },
    };
  }
}
