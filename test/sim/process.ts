import type { Clock, Timer } from "../../src/env/env.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";

/**
 * One process on a machine of a simulated cluster: whatever happens to it goes through `run`, so it can be stopped for a
 * while (a virtual machine that migrates, a long garbage collection), and can end at any instant, in the middle of a call
 * too: what its code does after that reaches nobody. It is also the clock of the node inside.
 */
export class SimulatedProcess implements Clock {
  readonly #world: VirtualClock;
  readonly #onUncaught: (error: unknown) => void;
  #phase: "running" | "paused" | "dead" = "running";
  /** What happened while the process was paused, in order. */
  #held: (() => void)[] = [];
  /** How often something has happened to it. */
  turns = 0;
  /** How far the wall clock of the machine is off, in milliseconds. */
  wallOffsetMs = 0;
  /** How fast its monotonic clock runs, and what both clocks showed when that was last changed. */
  #rate = 1;
  #worldBaseMs = 0;
  #ownBaseMs = 0;
  /** What the monotonic clock says while it stands still. */
  #suspendedAtMs: number | undefined;

  /** `onUncaught` hears what a callback throws while the process lives. */
  constructor(world: VirtualClock, onUncaught: (error: unknown) => void) {
    this.#world = world;
    this.#onUncaught = onUncaught;
  }

  get isDead(): boolean {
    return this.#phase === "dead";
  }

  get isPaused(): boolean {
    return this.#phase === "paused";
  }

  get isSuspended(): boolean {
    return this.#suspendedAtMs !== undefined;
  }

  /** Calls `callback` now, or when the process goes on, or never. */
  run(callback: () => void): void {
    if (this.#phase === "dead") return;
    if (this.#phase === "paused") {
      this.#held.push(callback);
      return;
    }
    this.turns++;
    try {
      callback();
    } catch (error) {
      // The compiler does not know that the callback may have been the end of this process.
      if (!this.isDead) this.#onUncaught(error);
    }
  }

  pause(): void {
    if (this.#phase === "running") this.#phase = "paused";
  }

  /** A pause that the monotonic clock does not see. */
  suspend(): void {
    if (this.#phase !== "running") return;
    this.#suspendedAtMs = this.nowMs();
    this.#phase = "paused";
  }

  resume(): void {
    if (this.#phase !== "paused") return;
    if (this.#suspendedAtMs !== undefined) {
      this.#ownBaseMs = this.#suspendedAtMs;
      this.#worldBaseMs = this.#world.nowMs();
      this.#suspendedAtMs = undefined;
    }
    this.#phase = "running";
    const held = this.#held;
    this.#held = [];
    for (const callback of held) this.run(callback);
  }

  die(): void {
    this.#phase = "dead";
    this.#held = [];
  }

  /** From now on the monotonic clock runs `rate` times as fast as time does. */
  drift(rate: number): void {
    this.#ownBaseMs = this.nowMs();
    this.#worldBaseMs = this.#world.nowMs();
    this.#rate = rate;
  }

  nowMs(): number {
    if (this.#suspendedAtMs !== undefined) return this.#suspendedAtMs;
    return this.#ownBaseMs + (this.#world.nowMs() - this.#worldBaseMs) * this.#rate;
  }

  wallMs(): number {
    return this.#world.wallMs() + this.wallOffsetMs;
  }

  timer(delayMs: number, callback: () => void): Timer {
    let isCancelled = false;
    const timer = this.#world.timer(delayMs / this.#rate, () => {
      this.run(() => {
        if (!isCancelled) callback();
      });
    });
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  endOfTurn(callback: () => void): void {
    this.#world.endOfTurn(() => this.run(callback));
  }

  /** Resolves after `delayMs`, if the process still runs then. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.timer(delayMs, resolve));
  }
}
