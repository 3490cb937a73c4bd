/** The first four of `bytes[start, end)` as a number in the order of the bytes; what is missing counts as zeros. */
export function keyHead(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let i = start; i < start + 4; i++) value = value * 256 + (i < end ? bytes[i]! : 0);
  return value;
}
