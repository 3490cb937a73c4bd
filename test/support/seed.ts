/** The seed of a test file's randomness: `SEED` from the environment, else a new one. It is printed, so that a run can be repeated. */
export function testSeed(file: string): number {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`${file}: SEED=${seed}`);
  return seed;
}
