import { expect, test } from "bun:test";
import { NO_SESSION } from "../../protocol/messages.ts";
import { seededRandom } from "../lib/prng.ts";
import { BOOLEAN } from "./answers.ts";
import { Call } from "./call.ts";
import { ShardSession } from "./session.ts";

const write = (): Call =>
  new Call(
    { kind: "delete", stamp: NO_SESSION, key: new Uint8Array() },
    BOOLEAN,
    { slot: 0 },
    () => undefined,
    () => undefined,
  );
const stampOf = (call: Call) => (call.request as { stamp: typeof NO_SESSION }).stamp;

function opened(window: number) {
  const admitted: Call[] = [];
  let openings = 0;
  const session = new ShardSession(0, window, {
    openSession: () => void openings++,
    admitted: (call) => void admitted.push(call),
  });
  const first = write();
  expect(session.admit(first)).toBe(false);
  session.opened(7);
  expect(admitted).toEqual([first]);
  return { session, admitted, first, openings: () => openings };
}

test("many writes that want a session at once open one", () => {
  let openings = 0;
  const session = new ShardSession(0, 8, { openSession: () => void openings++, admitted: () => undefined });
  for (let i = 0; i < 5; i++) expect(session.admit(write())).toBe(false);
  expect(openings).toBe(1);
});

test("a number is acknowledged only when all below it are answered", () => {
  const { session, first } = opened(16);
  const [second, third] = [write(), write()];
  session.admit(second);
  session.admit(third);
  session.finished(third);
  session.finished(first);
  const fourth = write();
  session.admit(fourth);
  expect(stampOf(fourth)).toEqual({ session: 7, sequence: 4, acknowledgedBelow: 2 });
  session.finished(second);
  const fifth = write();
  session.admit(fifth);
  expect(stampOf(fifth)).toEqual({ session: 7, sequence: 5, acknowledgedBelow: 4 });
});

test("what ends before it got its turn takes no number", () => {
  const { session, admitted, first } = opened(1);
  const [gone, next] = [write(), write()];
  expect(session.admit(gone)).toBe(false);
  expect(session.admit(next)).toBe(false);
  gone.settled = true;
  session.finished(gone);
  session.finished(first);
  expect(admitted).toEqual([first, next]);
  expect(stampOf(next).sequence).toBe(2);
});

test("an answer to an older session changes nothing in the next", () => {
  const { session, first } = opened(4);
  session.expired(7);
  const second = write();
  expect(session.admit(second)).toBe(false);
  session.opened(8);
  session.finished(first);
  session.expired(7);
  const third = write();
  session.admit(third);
  expect(stampOf(third)).toEqual({ session: 8, sequence: 2, acknowledgedBelow: 1 });
});

test("in any order of answers, numbers are dense and within the window, and all that is below is answered", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.info(`session seed ${seed}`);
  const random = seededRandom(seed);
  const { session, admitted, first } = opened(16);
  const answered = new Set<number>();
  const waitingAnswer = [first];
  let sequences = 1;
  for (let step = 0; step < 5000; step++) {
    const call = write();
    if (session.admit(call)) waitingAnswer.push(call);
    admitted.length = 0;
    for (let n = random.below(3); n > 0 && waitingAnswer.length > 0; n--) {
      const [done] = waitingAnswer.splice(random.below(waitingAnswer.length), 1);
      answered.add(stampOf(done!).sequence);
      session.finished(done!);
    }
    waitingAnswer.push(...admitted);
    for (const { request } of [...admitted, call].map((c) => ({ request: stampOf(c) }))) {
      if (request.session === 0) continue;
      sequences = Math.max(sequences, request.sequence);
      expect(request.sequence - request.acknowledgedBelow).toBeLessThan(16);
      for (let s = Math.max(1, request.acknowledgedBelow - 20); s < request.acknowledgedBelow; s++) {
        expect(answered.has(s)).toBe(true);
      }
    }
  }
  const given = new Set([...answered, ...waitingAnswer.map((call) => stampOf(call).sequence)]);
  expect(given.size).toBe(sequences);
});
