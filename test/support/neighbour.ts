import { expect } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { eventually } from "./eventually.ts";

/** Between two of its requests: it is no load. */
const PAUSE_MS = 2;
/** What counts as undisturbed: no election, no restart, no long stall. */
const LATENCY_MS_MAX = 1500;

/** A client that behaves well all the while, and notices if it is disturbed. */
export class Neighbour {
  readonly #client: Client;
  readonly #latencies: number[] = [];
  readonly #loop: Promise<void>;
  #stopped = false;
  #mark = 0;

  constructor(client: Client) {
    this.#client = client;
    this.#loop = this.#run();
  }

  /** Checks what it saw since the last call: answers, no error, and none of them late. */
  async expectUndisturbed(): Promise<void> {
    const goal = this.#latencies.length + 20;
    await eventually("the neighbour is served", 5000, () => this.#latencies.length >= goal);
    const seen = this.#latencies.slice(this.#mark).sort((a, b) => a - b);
    this.#mark = this.#latencies.length;
    const p99 = seen[Math.floor(seen.length * 0.99)]!;
    const max = seen.at(-1)!;
    console.log(`neighbour: ${seen.length} requests, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`);
    expect(max).toBeLessThan(LATENCY_MS_MAX);
  }

  /** Rejects with the first error that the neighbour had. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    for (let number = 0; !this.#stopped; number++) {
      const startedAt = performance.now();
      const key = `neighbour${number % 50}`;
      await this.#client.put(key, String(number));
      expect(await this.#client.getText(key)).toBe(String(number));
      this.#latencies.push(performance.now() - startedAt);
      await Bun.sleep(PAUSE_MS);
    }
  }
}
