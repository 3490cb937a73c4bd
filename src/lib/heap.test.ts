import { expect, test } from "bun:test";
import fc from "fast-check";
import { Heap } from "./heap.ts";

test("gives in order what was added in any", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = new Heap<number>((a, b) => a - b);
      for (const number of numbers) heap.add(number);
      expect(heap.size).toBe(numbers.length);
      const taken = numbers.map(() => heap.takeTop()!);
      expect(taken).toEqual([...numbers].sort((a, b) => a - b));
      expect(heap.takeTop()).toBeUndefined();
    }),
  );
});

test("a top that grew makes way", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 1 }), fc.array(fc.nat(20)), (numbers, growths) => {
      const heap = new Heap<{ value: number }>((a, b) => a.value - b.value);
      const model = numbers.map((value) => ({ value }));
      for (const item of model) heap.add(item);
      for (const growth of growths) {
        heap.top!.value += growth;
        heap.topChanged();
        expect(heap.top!.value).toBe(Math.min(...model.map(({ value }) => value)));
      }
    }),
  );
});
