import type { DriverListener } from "./driver.ts";

/** A listener for tests of drivers: keeps what it is told, and waits for it. */
export class AnswerLog implements DriverListener {
  /** Clients whose requests succeeded, in the order of their answers. */
  readonly answered: number[] = [];
  /** Those of them whose reads found nothing. */
  readonly missed: number[] = [];
  readonly failures: { client: number; error: string; message: string }[] = [];
  #wanted = 0;
  #reached: (() => void) | undefined;

  /** Resolves once `count` answers of all kinds have come. */
  until(count: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wanted = count;
    this.#reached = resolve;
    this.#check();
    return promise;
  }

  succeeded(client: number, found: boolean): void {
    this.answered.push(client);
    if (!found) this.missed.push(client);
    this.#check();
  }

  failed(client: number, error: string, message: string): void {
    this.failures.push({ client, error, message });
    this.#check();
  }

  #check(): void {
    if (this.answered.length + this.failures.length >= this.#wanted) this.#reached?.();
  }
}
