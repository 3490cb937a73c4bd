import { type Random, seededRandom } from "../../src/lib/prng.ts";
import type { LinkState, MemoryNetwork } from "./memory-network.ts";
import type { SimulatedMachine } from "./simulated-machine.ts";
import type { VirtualClock } from "./virtual-clock.ts";

/** What machines and the network are like when nothing is wrong with them, in milliseconds. */
const SYNC_MS = 4;
const LATENCY_MS = 2;
/** How often a machine whose process has ended may get a new one. */
const LOOK_MS = 100;

export interface FaultsParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly machines: readonly SimulatedMachine[];
  /** Hears what is done. */
  readonly tell: (event: string) => void;
}

/**
 * What goes wrong in a simulated cluster. Each run has its own mixture: some kinds of faults more often than others, some
 * not at all, and more or less time between them, so that rare combinations come up in some of the runs.
 */
export class SimulatedFaults {
  readonly #parts: FaultsParts;
  readonly #random: Random;
  readonly #kinds: readonly ((machine: SimulatedMachine, lastingMs: number) => void)[];
  /** Mean time between two faults, and one chance in so many that an ended process is restarted at a look. */
  readonly #pauseMs: number;
  readonly #restartChance: number;
  #isHealed = false;

  constructor(parts: FaultsParts) {
    this.#parts = parts;
    const random = seededRandom(parts.random.below(2 ** 31));
    this.#random = random;
    const all = [
      this.#losePower,
      this.#kill,
      this.#endMany,
      this.#pause,
      this.#partition,
      this.#move,
      this.#breakConnections,
      this.#slowDisk,
      this.#slowNetwork,
      this.#fillDisk,
      this.#failSync,
      this.#stop,
      this.#setClock,
    ];
    const kinds = all.filter(() => random.below(2) === 0);
    this.#kinds = kinds.length === 0 ? all : kinds;
    this.#pauseMs = 150 << random.below(4);
    this.#restartChance = 1 << random.below(5);
    this.#restart();
  }

  /** Makes faults for `lastingMs`; some of them last longer. */
  async makeFor(lastingMs: number): Promise<void> {
    const random = this.#random;
    const { clock, machines } = this.#parts;
    const endMs = clock.nowMs() + lastingMs;
    await this.#sleep(random.float() * 2 * this.#pauseMs);
    while (clock.nowMs() < endMs) {
      const machine = machines[random.below(machines.length)]!;
      const kind = this.#kinds[random.below(this.#kinds.length)]!;
      kind(machine, random.float() * (random.below(4) === 0 ? 5000 : 800));
      await this.#sleep(random.float() * 2 * this.#pauseMs);
    }
  }

  /** Ends all faults, for good. */
  heal(): void {
    const { network, machines, tell } = this.#parts;
    tell("everything is healed");
    this.#isHealed = true;
    network.healAll();
    network.latencyMsMax = LATENCY_MS;
    for (const machine of machines) {
      machine.limitDisk(undefined);
      machine.endAtOperation(Number.POSITIVE_INFINITY, "killed");
      machine.syncMsMax = SYNC_MS;
      machine.resume();
      machine.boot();
    }
  }

  /** Starts new processes where there is none. After `heal` only a process that was being stopped can still end. */
  #restart(): void {
    this.#parts.clock.timer(LOOK_MS, () => {
      for (const machine of this.#parts.machines) {
        if (!machine.isRunning && (this.#isHealed || this.#random.below(this.#restartChance) === 0)) {
          machine.boot();
        }
      }
      this.#restart();
    });
  }

  readonly #losePower = (machine: SimulatedMachine): void => {
    machine.endAtOperation(this.#random.below(60), "powerLost");
  };

  readonly #kill = (machine: SimulatedMachine): void => {
    machine.endAtOperation(this.#random.below(60), "killed");
  };

  readonly #endMany = (): void => {
    for (const machine of this.#parts.machines) {
      if (this.#random.below(4) > 0) machine.end(this.#random.below(2) === 0 ? "powerLost" : "killed");
    }
  };

  readonly #pause = (machine: SimulatedMachine, lastingMs: number): void => {
    machine.pause();
    this.#after(lastingMs, () => machine.resume());
  };

  /** A machine is moved to another host: it stands still, and goes on before its network does. */
  readonly #move = (machine: SimulatedMachine, lastingMs: number): void => {
    const { network } = this.#parts;
    const others = this.#others(machine);
    const pauseMs = 500 + lastingMs;
    const networkMs = pauseMs + this.#random.float() * 500;
    this.#tell(`${machine.name} is cut off from the others`, networkMs);
    for (const { name } of others) network.setLink(name, machine.name, "stalled");
    machine.pause();
    this.#after(pauseMs, () => machine.resume());
    this.#after(networkMs, () => {
      for (const { name } of others) network.setLink(name, machine.name, "open");
    });
  };

  /** Cuts a machine off from another one, or all others, in one direction or both. */
  readonly #partition = (machine: SimulatedMachine, lastingMs: number): void => {
    const { network } = this.#parts;
    const state: LinkState = this.#random.below(3) === 0 ? "refused" : "stalled";
    const way = (["both ways", "both ways", "out", "in"] as const)[this.#random.below(4)]!;
    const others = this.#random.below(2) === 0 ? this.#others(machine) : [this.#other(machine)];
    this.#tell(`${machine.name} to ${others.map(({ name }) => name)}, ${way}: ${state}`, lastingMs);
    const set = (to: LinkState): void => {
      for (const { name } of others) {
        if (way !== "in") network.setLink(machine.name, name, to);
        if (way !== "out") network.setLink(name, machine.name, to);
      }
    };
    set(state);
    this.#after(lastingMs, () => set("open"));
  };

  readonly #breakConnections = (machine: SimulatedMachine): void => {
    const other = this.#other(machine);
    const told = this.#random.below(2) === 0 ? "both" : "one";
    this.#parts.tell(`${machine.name} loses its connections with ${other.name}, ${told} told`);
    this.#parts.network.breakConnections(machine.name, other.name, told);
  };

  readonly #slowDisk = (machine: SimulatedMachine, lastingMs: number): void => {
    machine.syncMsMax = 1 + this.#random.below(300);
    this.#tell(`${machine.name} takes ${machine.syncMsMax} ms to sync`, lastingMs);
    this.#after(lastingMs, () => {
      machine.syncMsMax = SYNC_MS;
    });
  };

  readonly #slowNetwork = (_machine: SimulatedMachine, lastingMs: number): void => {
    const { network } = this.#parts;
    network.latencyMsMax = 1 + this.#random.below(100);
    this.#tell(`the network takes ${network.latencyMsMax} ms`, lastingMs);
    this.#after(lastingMs, () => {
      network.latencyMsMax = LATENCY_MS;
    });
  };

  readonly #fillDisk = (machine: SimulatedMachine, lastingMs: number): void => {
    machine.limitDisk(this.#random.below(4096));
    this.#after(lastingMs, () => machine.limitDisk(undefined));
  };

  readonly #failSync = (machine: SimulatedMachine): void => machine.failNextSync();

  readonly #stop = (machine: SimulatedMachine): void => machine.stop();

  /** The wall clock is set to some other time at the next start, now and then to one at which sessions have expired. */
  readonly #setClock = (machine: SimulatedMachine): void => {
    const farMs = this.#random.below(4) === 0 ? 5_000_000 : 10_000;
    machine.wallOffsetMs = Math.floor((this.#random.float() * 2 - 1) * farMs);
    machine.endAtOperation(this.#random.below(10), "killed");
  };

  #others(machine: SimulatedMachine): SimulatedMachine[] {
    return this.#parts.machines.filter((other) => other !== machine);
  }

  #other(machine: SimulatedMachine): SimulatedMachine {
    const others = this.#others(machine);
    return others[this.#random.below(others.length)]!;
  }

  #tell(event: string, lastingMs: number): void {
    this.#parts.tell(`${event} for ${lastingMs.toFixed(0)} ms`);
  }

  #after(delayMs: number, action: () => void): void {
    this.#parts.clock.timer(delayMs, () => {
      if (!this.#isHealed) action();
    });
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.timer(delayMs, resolve));
  }
}
