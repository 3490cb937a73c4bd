import { expect, test } from "bun:test";
import { seededRandom } from "../lib/prng.ts";
import { OutgoingQueue } from "./outgoing-queue.ts";

test("gives back what was put in, in order, whatever the sizes", () => {
  const random = seededRandom(20_260_101);
  const queue = new OutgoingQueue();
  let put = 0;
  let taken = 0;
  const takeSome = (): void => {
    const front = queue.front();
    if (front === undefined) return;
    const count = 1 + random.below(front.length);
    for (let i = 0; i < count; i++) {
      if (front[i] !== (taken & 0xff)) throw new Error(`byte ${taken} is ${front[i]}`);
      taken++;
    }
    queue.consume(count);
  };
  for (let round = 0; round < 20_000; round++) {
    const length = random.below(50) === 0 ? random.below(200_000) : random.below(200);
    const skipped = random.below(3);
    const bytes = new Uint8Array(length + skipped);
    for (let i = 0; i < length; i++) bytes[skipped + i] = put++ & 0xff;
    queue.push(bytes, skipped);
    for (let i = random.below(4); i > 0; i--) takeSome();
    if (queue.byteLength !== put - taken) throw new Error(`${queue.byteLength} of ${put - taken} bytes`);
  }
  while (queue.byteLength > 0) takeSome();
  expect(taken).toBe(put);
  expect(queue.front()).toBeUndefined();
});

test("copies what it is given", () => {
  const queue = new OutgoingQueue();
  const bytes = new Uint8Array([1, 2, 3]);
  queue.push(bytes);
  bytes.fill(9);
  expect(queue.front()).toEqual(new Uint8Array([1, 2, 3]));
});

test("an empty piece adds nothing, and clear empties", () => {
  const queue = new OutgoingQueue();
  queue.push(new Uint8Array(0));
  expect(queue.front()).toBeUndefined();
  queue.push(new Uint8Array(100_000));
  queue.clear();
  expect(queue.byteLength).toBe(0);
  expect(queue.front()).toBeUndefined();
});
