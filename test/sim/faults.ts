/**
 * What goes wrong in a simulated cluster. Each run has its own mixture, drawn from its seed: some kinds of faults more often
 * than others, some not at all, and more or less time between them, so that rare combinations come up in some of the runs.
 *
 * All faults are planned before the run begins, each with a seed of its own, so that any of them can be left out and the
 * others stay what they are: that is what makes a failing run shrink.
 */
import type { NodeId, ShardId } from "../../protocol/ids.ts";
import { nodeId, shardId } from "../../protocol/ids.ts";
import type { GroupMessage } from "../../protocol/peer-messages.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import { FAULT_KINDS, type FaultKind } from "./fault-kinds.ts";
import { flood } from "./flood.ts";
import type { SimulatedMachine } from "./machine.ts";
import { DEEDS, MOMENTS } from "./moments.ts";
import type { LinkState, MemoryNetwork } from "./network.ts";

/** The same in the end, when all is well. */
const HEALED_SYNC_MS = 4;
const HEALED_LATENCY_MS = 2;
/** How often a machine whose process has ended may get a new one. */
const LOOK_MS = 100;
/** How long an ambush is laid for. */
const AMBUSH_MS = 3000;
/** How far monotonic clocks may run fast or slow. */
const DRIFT_MAX = 0.1;

export interface PlannedFault {
  readonly number: number;
  readonly atMs: number;
  /** `members` is none of these: members change beside the faults. */
  readonly kind: FaultKind;
  readonly lastingMs: number;
  readonly seed: number;
}

/** Draws how often there is each of `kinds`, and when. */
export function planFaults(random: Random, kinds: readonly FaultKind[], durationMs: number): PlannedFault[] {
  const weights = FAULT_KINDS.map(() => 1 + random.below(1 << random.below(4)));
  const chosen = kinds.filter((kind) => kind !== "members");
  const meanPauseMs = 100 << random.below(4);
  const planned: PlannedFault[] = [];
  if (chosen.length === 0) return planned;
  const bag = chosen.flatMap((kind) => Array<FaultKind>(weights[FAULT_KINDS.indexOf(kind)]!).fill(kind));
  let atMs = random.float() * 2 * meanPauseMs;
  for (let number = 0; atMs < durationMs; number++) {
    const kind = bag[random.below(bag.length)]!;
    const lastingMs = random.float() * (random.below(4) === 0 ? 5000 : 800);
    planned.push({ number, atMs, kind, lastingMs, seed: random.below(2 ** 31) });
    atMs += random.float() * 2 * meanPauseMs;
  }
  return planned;
}

export interface FaultsParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly machines: readonly SimulatedMachine[];
  /** Of the machines, the first so many founded the cluster. */
  readonly founders: number;
  /** On how many nodes each shard is. */
  readonly replicas: number;
  readonly shards: number;
  readonly plan: readonly PlannedFault[];
  /** Longest time of a sync and of bytes on their way while no fault makes it longer, in milliseconds. */
  readonly usual: { readonly syncMs: number; readonly latencyMs: number };
  /** Whoever drops a replica or installs a snapshot is in danger all the time, not only where an ambush is laid. */
  readonly lurks?: boolean;
  /** Hears what is done. */
  readonly tell: (event: string) => void;
}

/** Something that is waited for, and what is done then. */
interface Ambush {
  readonly moment: string;
  readonly strike: (message: Pick<GroupMessage, "from" | "to">) => void;
}

/** Operations of its disk within which it has done it. */
const DEED_OPERATIONS = 40;
/** Where one of these is among the faults, the network loses messages too. */
const NETWORK_KINDS: ReadonlySet<FaultKind> = new Set<FaultKind>(["loss", "reorder", "partition", "break"]);
/** How long messages are lost after a snapshot began to be sent. */
const STREAM_MS = 200;
/** How long the Raft log may be behind other files then. */
const HELD_MS = 250;

type Fault = (machine: SimulatedMachine, lastingMs: number, random: Random) => void;

export class SimulatedFaults {
  readonly #parts: FaultsParts;
  /** One chance in so many that an ended process is restarted at a look. */
  readonly #restartChance: number;
  readonly #random: Random;
  #isHealed = false;
  /** Those that the cluster has to do without, until the very end. */
  #off: readonly SimulatedMachine[] = [];
  readonly #losesMessages: boolean;
  /** How many faults of each kind there were. */
  readonly counts: Partial<Record<FaultKind, number>> = {};
  /** Those that are away for long. */
  readonly #away = new Set<SimulatedMachine>();
  /** Those whose disks change once they have stopped. */
  readonly #toDamage = new Map<SimulatedMachine, Random>();
  #ambushes: readonly Ambush[] = [];
  /** What is done as soon as what is being sent has been heard. */
  #strikes: (() => void)[] = [];

  constructor(parts: FaultsParts) {
    this.#parts = parts;
    this.#random = parts.random;
    this.#losesMessages = parts.plan.some(({ kind }) => NETWORK_KINDS.has(kind));
    this.#restartChance = 1 << parts.random.below(5);
    parts.network.latencyMsMax = parts.usual.latencyMs;
    for (const machine of parts.machines) machine.syncMsMax = parts.usual.syncMs;
    for (const fault of parts.plan) parts.clock.timer(fault.atMs, () => this.#make(fault));
    this.#restart();
  }

  /** Machines that can lose their disk or be damaged without the cluster losing what it promised. */
  get #lossesAllowed(): number {
    const { founders, replicas } = this.#parts;
    return Math.floor((Math.min(founders, replicas) - 1) / 2);
  }

  /** Whether `machine` may be damaged so that it does not start any more. */
  #mayDamage(machine: SimulatedMachine): boolean {
    const founders = this.#parts.machines.slice(0, this.#parts.founders);
    // A cluster is founded once all its founders have met, for which they have to run.
    return this.#mayWipe(machine) && founders.every((other) => other.isExcused || other.takesPart);
  }

  /** Whether `machine` may lose its disk. */
  #mayWipe(machine: SimulatedMachine): boolean {
    const { machines, founders } = this.#parts;
    if (machines.indexOf(machine) >= founders) return false;
    if (machine.isExcused) return true;
    const lost = machines.filter(({ isExcused }) => isExcused).length;
    return lost < this.#lossesAllowed && !this.#isNeeded(machine);
  }

  /** Whether the others of some set, as a node knows it now, can't decide without it: while one drains another may be lost. */
  #isNeeded({ name }: SimulatedMachine): boolean {
    const { machines, shards } = this.#parts;
    if (machines.some((machine) => this.#isShort(machine))) return true;
    const isOneOfTwo = (set: readonly string[]) => set.includes(name) && set.length <= 2;
    return machines.some((machine) =>
      Array.from({ length: shards }, (_, shard) => machine.describe(shardId(shard), 0)).some(
        (log) => log !== undefined && (isOneOfTwo(log.voters) || isOneOfTwo(log.outgoing)),
      ),
    );
  }

  /** Whether sets may become smaller, as `machine` knows it: somebody goes, and there are not enough others for each place. */
  #isShort(machine: SimulatedMachine): boolean {
    const nodes = machine.topology()?.nodes ?? [];
    const able = nodes.filter(({ standing, isUp }) => standing === "member" && isUp);
    return (
      able.length < Math.min(nodes.length, this.#parts.replicas) &&
      nodes.some(({ standing }) => standing !== "member")
    );
  }

  /** Ends all faults, for good; `off` stay without a process for now. */
  heal(off: readonly SimulatedMachine[]): void {
    const { network, machines, tell } = this.#parts;
    this.#away.clear();
    this.#ambushes = [];
    tell(`everything is healed, but ${off.map(({ name }) => name).join() || "nothing"} stays off`);
    this.#isHealed = true;
    this.#off = off;
    network.healAll();
    network.latencyMsMax = HEALED_LATENCY_MS;
    for (const machine of machines) {
      machine.limitDisk(undefined);
      machine.endAtOperation(Number.POSITIVE_INFINITY, "killed");
      machine.syncMsMax = HEALED_SYNC_MS;
      machine.drift(1);
      if (off.includes(machine)) machine.end("killed");
      else {
        machine.resume();
        machine.boot();
      }
    }
  }

  /** Has a node be away until all is healed, if it is one of few enough. */
  takeAway(machine: SimulatedMachine): boolean {
    if (this.#away.size >= this.#lossesAllowed || this.#isHealed) return false;
    this.#away.add(machine);
    machine.end(this.#random.below(2) === 0 ? "powerLost" : "killed");
    return true;
  }

  /** Who was taken away is there again. */
  bringBack(machine: SimulatedMachine): void {
    this.#away.delete(machine);
    if (!this.#isHealed) machine.boot();
  }

  /** Has a founder come back with an empty disk, if few enough have lost theirs. */
  wipe(machine: SimulatedMachine): boolean {
    if (this.#isHealed || !this.#mayWipe(machine)) return false;
    this.counts.wipe = (this.counts.wipe ?? 0) + 1;
    machine.wipe();
    return true;
  }

  /** A process ends between two disk operations. */
  end(machine: SimulatedMachine): void {
    if (!this.#isHealed) machine.end(this.#random.below(2) === 0 ? "powerLost" : "killed");
  }

  /** Cuts a few machines off from all others, without anybody being told; what is returned lets them back before the time. */
  cutOff(side: readonly SimulatedMachine[], lastingMs: number): () => void {
    if (this.#isHealed) return () => {};
    this.#tell(
      `${side.map(({ name }) => name).join() || "nobody"} to all others, both ways: stalled`,
      lastingMs,
    );
    const { network, machines } = this.#parts;
    const others = machines.filter((machine) => !side.includes(machine));
    const set = (to: LinkState): void => {
      for (const { name } of side) network.setLinks(name, others, to);
    };
    let isOver = false;
    const letBack = (): void => {
      if (!isOver && !this.#isHealed) set("open");
      isOver = true;
    };
    set("stalled");
    this.#after(lastingMs, letBack);
    return letBack;
  }

  /** Those that were left off come back. */
  healAll(): void {
    this.#off = [];
  }

  /** Starts new processes where there is none. After `heal` only a process that was being stopped can still end. */
  #restart(): void {
    this.#parts.clock.timer(LOOK_MS, () => {
      for (const machine of this.#parts.machines) {
        const isDue = this.#isHealed || this.#random.below(this.#restartChance) === 0;
        const isAway = this.#away.has(machine) || this.#off.includes(machine);
        if (!machine.isRunning && isDue && !isAway) machine.boot();
      }
      this.#restart();
    });
  }

  #make({ number, kind, lastingMs, seed }: PlannedFault): void {
    if (this.#isHealed || kind === "members") return;
    const { tell } = this.#parts;
    const random = seededRandom(seed);
    const machine = this.#victim(random);
    tell(`fault ${number}: ${kind}, ${machine.name}`);
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    this.#faults[kind](machine, lastingMs, random);
  }

  /** Any machine; every other time one that leads a shard, if there is one: what goes wrong there has more to it. */
  #victim(random: Random): SimulatedMachine {
    const { machines, shards } = this.#parts;
    const any = machines[random.below(machines.length)]!;
    const shard = shardId(random.below(shards));
    const prefersLeader = random.below(2) === 0;
    const leads = (machine: SimulatedMachine): boolean => machine.describe(shard, 0)?.role === "leader";
    return (prefersLeader ? machines.find(leads) : undefined) ?? any;
  }

  readonly #faults: Readonly<Record<Exclude<FaultKind, "members">, Fault>> = {
    loss: (_, lastingMs, random) => this.#weather("lossPercent", 1 + random.below(40), lastingMs),
    repeat: (_, lastingMs, random) => this.#weather("repeatPercent", 1 + random.below(40), lastingMs),
    reorder: (_, lastingMs, random) => this.#weather("reorderPercent", 1 + random.below(40), lastingMs),
    delay: (_, lastingMs, random) => {
      const { network } = this.#parts;
      network.latencyMsMax = 1 + random.below(100);
      this.#tell(`the network takes ${network.latencyMsMax} ms`, lastingMs);
      this.#after(lastingMs, () => {
        network.latencyMsMax = this.#parts.usual.latencyMs;
      });
    },
    partition: (machine, lastingMs, random) => this.#partition(machine, lastingMs, random),
    swizzle: (_, lastingMs, random) => this.#swizzle(lastingMs, random),
    break: (machine, _, random) => {
      const other = this.#other(machine, random);
      const told = random.below(2) === 0 ? "both" : "one";
      this.#parts.tell(`${machine.name} loses its connections with ${other.name}, ${told} told`);
      this.#parts.network.breakConnections(machine.name, other.name, told);
    },
    crash: (machine, _, random) => {
      if (random.below(4) > 0) machine.endAtOperation(random.below(60), "killed");
      else this.#endMany(random);
    },
    powerloss: (machine, _, random) => {
      if (random.below(4) > 0) machine.endAtOperation(random.below(60), "powerLost");
      else for (const each of this.#parts.machines) each.end("powerLost");
    },
    absence: (machine, lastingMs, random) => {
      if (!this.takeAway(machine)) return;
      if (random.below(3) === 0) {
        this.#parts.tell(`${machine.name} is away until all is healed`);
        return;
      }
      const awayMs = 1000 + 4 * lastingMs;
      this.#tell(`${machine.name} is away`, awayMs);
      this.#after(awayMs, () => this.#away.delete(machine));
    },
    ambush: (_, lastingMs, random) => this.#layAmbush(lastingMs, random),
    stop: (machine) => machine.stop(),
    pause: (machine, lastingMs, random) => {
      if (random.below(2) === 0) this.#move(machine, lastingMs, random, () => machine.pause());
      else {
        machine.pause();
        this.#after(lastingMs, () => machine.resume());
      }
    },
    suspend: (machine, lastingMs, random) => {
      // A cluster of which several machines stand still stands still itself, and nobody notices anything.
      if (this.#parts.machines.some(({ isPaused }) => isPaused)) return;
      // Long enough for others to lead and to write; the clock that stands still makes it no time at all to this one.
      if (random.below(4) > 0) this.#move(machine, 1_500 + lastingMs, random, () => machine.suspend());
      else {
        machine.suspend();
        this.#after(lastingMs, () => machine.resume());
      }
    },
    drift: (machine, lastingMs, random) => {
      const rate = 1 + (2 * random.float() - 1) * DRIFT_MAX;
      machine.drift(rate);
      this.#tell(`the clock of ${machine.name} runs ${rate.toFixed(3)} times as fast`, 4 * lastingMs);
      this.#after(4 * lastingMs, () => machine.drift(1));
    },
    jump: (machine, _, random) => {
      // Now and then to a time at which sessions have expired.
      const farMs = random.below(4) === 0 ? 5_000_000 : 10_000;
      machine.setWallClock(Math.floor((random.float() * 2 - 1) * farMs));
      if (random.below(2) === 0) machine.endAtOperation(random.below(10), "killed");
    },
    flood: (machine, lastingMs, random) => {
      const { clock, machines, tell } = this.#parts;
      const after = (delayMs: number, action: () => void) => this.#after(delayMs, action);
      flood({ clock, after, machine, machines, random, lastingMs, tell });
    },
    slowdisk: (machine, lastingMs, random) => {
      machine.syncMsMax = 1 + random.below(300);
      this.#tell(`${machine.name} takes ${machine.syncMsMax} ms to sync`, lastingMs);
      this.#after(lastingMs, () => {
        machine.syncMsMax = this.#parts.usual.syncMs;
      });
    },
    fsync: (machine) => machine.failNextSync(),
    diskfull: (machine, lastingMs, random) => {
      machine.limitDisk(random.below(4096));
      this.#after(lastingMs, () => machine.limitDisk(undefined));
    },
    bitflip: (machine, _, random) => {
      if (!this.#mayDamage(machine)) return;
      if (random.below(3) === 0) {
        this.#damageStopped(machine, random);
        return;
      }
      machine.damage("bitflip", random);
      // Some of it only a start can meet.
      if (random.below(2) === 0) machine.endAtOperation(random.below(20), "killed");
    },
    misdirect: (machine, _, random) => {
      if (this.#mayDamage(machine)) machine.damage("misdirect", random);
    },
    wipe: (machine) => {
      if (this.#mayWipe(machine)) machine.wipe();
    },
    transfer: (machine, _, random) => {
      const to: NodeId = nodeId(this.#other(machine, random).name);
      const shard: ShardId | undefined =
        random.below(2) === 0 ? undefined : shardId(random.below(this.#parts.shards));
      machine.execute({ kind: "transferLeader", to, shard, forwarded: false }, "redirect");
    },
  };

  /** A bit changes while a node is stopped in an orderly way, of which its log says how far it went. */
  #damageStopped(machine: SimulatedMachine, random: Random): void {
    machine.stop();
    if (machine.isStopping) this.#toDamage.set(machine, random);
    else machine.damage("bitflip", random, !machine.isRunning);
  }

  /** A message leaves its sender. */
  sees(message: GroupMessage): void {
    if (this.#ambushes.length === 0) return;
    const sprung = this.#ambushes.filter(({ moment }) => MOMENTS[moment]?.(message) === true);
    if (sprung.length === 0) return;
    this.#ambushes = this.#ambushes.filter((ambush) => !sprung.includes(ambush));
    for (const { moment, strike } of sprung) {
      this.#parts.tell(`${message.from} ${moment}, to ${message.to}`);
      this.#strikes.push(() => strike(message));
    }
  }

  /** Something was told, perhaps by a node of what it begins to do on its disk. */
  happened(event: string): void {
    if (event.endsWith("sends a snapshot")) this.#disturbStream();
    if (event.endsWith("has stopped")) this.#stopped(event);
    const deed = Object.keys(DEEDS).find((name) => event.endsWith(DEEDS[name]!));
    if (deed === undefined || this.#isHealed) return;
    const machine = this.#parts.machines.find(({ name }) => event.startsWith(`${name} `));
    if (machine === undefined) return;
    const sprung = this.#ambushes.some(({ moment }) => moment === deed);
    this.#ambushes = this.#ambushes.filter(({ moment }) => moment !== deed);
    const lurks = this.#parts.lurks === true && this.#random.below(3) === 0;
    if (!sprung && !lurks) return;
    this.#parts.tell(`somebody lies in wait for ${machine.name}`);
    if (this.#random.below(2) === 0) {
      machine.endAtOperation(
        this.#random.below(DEED_OPERATIONS),
        this.#random.below(4) === 0 ? "killed" : "powerLost",
      );
      return;
    }
    // What goes to other files is on the disk before what was written to the log first.
    machine.holdLog(HELD_MS);
    const { process } = machine;
    this.#after(this.#random.float() * HELD_MS, () => {
      if (machine.process === process) machine.end("powerLost");
    });
  }

  #stopped(event: string): void {
    for (const [machine, random] of this.#toDamage) {
      if (!event.startsWith(`${machine.name} `)) continue;
      this.#toDamage.delete(machine);
      if (!this.#isHealed && this.#mayDamage(machine)) machine.damage("bitflip", random, true);
    }
  }

  /** A stream of parts is over soon: what the network does to the middle of one begins with it. */
  #disturbStream(): void {
    if (this.#isHealed || !this.#losesMessages || this.#random.below(3) === 0) return;
    this.#weather("lossPercent", 5 + this.#random.below(30), STREAM_MS);
  }

  /** Does what the last messages that were seen were waited for with. */
  strike(): void {
    if (this.#strikes.length === 0) return;
    const strikes = this.#strikes;
    this.#strikes = [];
    for (const strike of strikes) strike();
  }

  /** Waits for somebody to say something, and then does something to who said it, or is told. */
  #layAmbush(lastingMs: number, random: Random): void {
    const { machines, clock } = this.#parts;
    const names = [...Object.keys(MOMENTS), ...Object.keys(DEEDS)];
    const moment = names[random.below(names.length)]!;
    const isSender = random.below(3) > 0;
    const delayMs = random.below(2) === 0 ? undefined : random.float() * 40;
    const blow = random.below(6);
    const strike = ({ from, to }: Pick<GroupMessage, "from" | "to">): void => {
      const machine = machines.find(({ name }) => name === (isSender ? from : to));
      if (machine === undefined || this.#isHealed) return;
      if (blow < 2) machine.end("powerLost");
      else if (blow === 2) machine.end("killed");
      else if (blow === 3) this.#isolate(machine, lastingMs);
      else if (blow === 4) this.#partition(machine, lastingMs, random);
      // A process ends in the middle of what it does, but it stands still between two things.
      else this.#after(0, () => this.#faults.pause(machine, lastingMs, random));
    };
    const ambush: Ambush = {
      moment,
      strike: (message) =>
        delayMs === undefined ? strike(message) : this.#after(delayMs, () => strike(message)),
    };
    this.#parts.tell(`an ambush is laid for who ${moment}`);
    this.#ambushes = [...this.#ambushes, ambush];
    clock.timer(AMBUSH_MS, () => {
      this.#ambushes = this.#ambushes.filter((other) => other !== ambush);
    });
  }

  /** Cuts a machine off from all others, without anybody being told. */
  #isolate(machine: SimulatedMachine, lastingMs: number): void {
    const { network, machines } = this.#parts;
    const set = (to: LinkState): void => network.setLinks(machine.name, machines, to);
    this.#tell(`${machine.name} is cut off from the others`, lastingMs);
    set("stalled");
    this.#after(lastingMs, () => set("open"));
  }

  #weather(
    what: "lossPercent" | "repeatPercent" | "reorderPercent",
    percent: number,
    lastingMs: number,
  ): void {
    const { network } = this.#parts;
    network[what] = percent;
    this.#tell(`${what} is ${percent}`, lastingMs);
    this.#after(lastingMs, () => {
      network[what] = 0;
    });
  }

  #endMany(random: Random): void {
    for (const machine of this.#parts.machines) {
      if (random.below(4) > 0) machine.end(random.below(2) === 0 ? "powerLost" : "killed");
    }
  }

  /** A machine is moved to another host: it stands still, and goes on before its network does. */
  #move(machine: SimulatedMachine, lastingMs: number, random: Random, halt: () => void): void {
    const { network } = this.#parts;
    const others = this.#others(machine);
    const pauseMs = 500 + lastingMs;
    const networkMs = pauseMs + random.float() * 500;
    this.#tell(`${machine.name} is cut off from the others`, networkMs);
    for (const { name } of others) network.setLink(name, machine.name, "stalled");
    halt();
    this.#after(pauseMs, () => machine.resume());
    this.#after(networkMs, () => {
      for (const { name } of others) network.setLink(name, machine.name, "open");
    });
  }

  /**
   * Cuts all machines into two sets; or one machine off from one other, from some (who are a bridge then), or from all, in
   * one direction or both.
   */
  #partition(machine: SimulatedMachine, lastingMs: number, random: Random): void {
    const { network, machines } = this.#parts;
    if (random.below(3) === 0) {
      this.cutOff(
        machines.filter(() => random.below(2) === 0),
        lastingMs,
      );
      return;
    }
    const state: LinkState = random.below(3) === 0 ? "refused" : "stalled";
    const way = (["both ways", "both ways", "out", "in"] as const)[random.below(4)]!;
    const all = this.#others(machine);
    const isSome = random.below(2) === 0;
    const some = all.filter(() => isSome && random.below(2) === 0);
    const others = some.length === 0 ? all : some;
    this.#tell(`${machine.name} to ${others.map(({ name }) => name)}, ${way}: ${state}`, lastingMs);
    const set = (to: LinkState): void => {
      for (const { name } of others) {
        if (way !== "in") network.setLink(machine.name, name, to);
        if (way !== "out") network.setLink(name, machine.name, to);
      }
    };
    set(state);
    this.#after(lastingMs, () => set("open"));
  }

  /** Cuts machines off one after the other, and lets them back in another order. */
  #swizzle(lastingMs: number, random: Random): void {
    const { network, machines } = this.#parts;
    const chosen = machines.filter(() => random.below(3) > 0);
    const set = ({ name }: SimulatedMachine, to: LinkState): void => network.setLinks(name, machines, to);
    this.#tell(`${chosen.map(({ name }) => name)} are cut off by turns`, lastingMs);
    for (const machine of chosen) {
      this.#after((random.float() * lastingMs) / 2, () => set(machine, "stalled"));
      this.#after((0.5 + random.float() / 2) * lastingMs, () => set(machine, "open"));
    }
  }

  #others(machine: SimulatedMachine): SimulatedMachine[] {
    return this.#parts.machines.filter((other) => other !== machine);
  }

  #other(machine: SimulatedMachine, random: Random): SimulatedMachine {
    const others = this.#others(machine);
    return others[random.below(others.length)]!;
  }

  #tell(event: string, lastingMs: number): void {
    this.#parts.tell(`${event} for ${lastingMs.toFixed(0)} ms`);
  }

  #after(delayMs: number, action: () => void): void {
    this.#parts.clock.timer(delayMs, () => {
      if (!this.#isHealed) action();
    });
  }
}
