import { decodeConfiguration } from "../../../protocol/configuration.ts";
import { type LogIndex, logIndex, nextTerm, term } from "../../../protocol/ids.ts";
import type { Configuration, Entry, RaftMessage } from "../../../protocol/peer-messages.ts";
import { assert } from "../../lib/assert.ts";
import { fromUtf8, utf8 } from "../../lib/bytes.ts";
import { type Members, stepTowards } from "../configuration.ts";
import type { Output, RaftCore } from "../types.ts";
import { Cluster, type ClusterConfig, type Node } from "./cluster.ts";

/**
 * Replays a scenario and writes down what the cores answered.
 *
 * A scenario is a text: lines with `>` are steps, lines with `#` are remarks, and the lines after a step are what it led
 * to. `replay` keeps steps and remarks and writes the rest anew, so a transcript that is unchanged by it is one that
 * holds. Nothing moves by itself: a message waits until it is delivered or dropped, a log write until it is synced.
 *
 *     > cluster N [key=value ...]        N nodes n1...nN; keys of RaftConfig; randomness always gives 0; voters=M: the
 *                                        first M found the group, and the others know of no members
 *     > log NODE TERM ...                before anything else: the node's log, an entry of each of these terms
 *     > state NODE TERM [VOTE]           likewise, its term and vote
 *     > lead NODE                        campaigns and settles, without a word about it
 *     > tick NODE [COUNT]                > campaign NODE
 *     > propose NODE TEXT ...            one entry each, in one Output
 *     > read NODE [quorum]               a lease is not enough for it;  > transfer NODE TO;  > unreachable NODE TO
 *     > deliver [FROM|* [TO|*]]          what is on its way now; not what that leads to
 *     > drop [FROM|* [TO|*]]             loses it
 *     > sync NODE [COUNT]                its oldest log writes become durable (all of them)
 *     > members NODE VOTER ... [+ LEARNER ...]    asks NODE to make these the members
 *     > follow NODE VOTER ... [+ LEARNER ...]     has NODE go the next step towards these, as an owner does
 *     > quiesce NODE                     asks it to fall asleep
 *     > compact NODE INDEX               its log forgets everything up to there
 *     > stream TO                        the snapshot on its way to TO arrives;  > lose TO  doesn't
 *     > clock TIME                       what reads are told from now on;  > pause NODE  its owner noticed a pause
 *     > settle                           delivers and syncs until all is quiet
 *     > cut FROM TO                      > heal
 *     > crash NODE                       > restart NODE
 *     > logs                             every node's log, by the terms of its entries, and its commit index
 */
export function replay(scenario: string): string {
  return new Transcript().replay(scenario);
}

class Transcript {
  #cluster: Cluster | undefined;
  #lines: string[] = [];
  /** Entries that scenarios begin with: the same bytes wherever an (index, term) is. */
  readonly #data = new Map<string, Uint8Array>();
  readonly #lastSeen = new Map<string, string>();

  replay(scenario: string): string {
    for (const line of scenario.split("\n")) {
      const isStep = line.startsWith(">");
      if (!isStep && !line.startsWith("#")) continue;
      const last = this.#lines.at(-1);
      const isAnswer = last !== undefined && !last.startsWith("#") && !last.startsWith(">");
      if (isAnswer || (!isStep && last?.startsWith(">"))) this.#lines.push("");
      this.#lines.push(line);
      if (isStep) this.#step(line.slice(1).trim().split(/\s+/));
    }
    return `${this.#lines.join("\n")}\n`;
  }

  #step([command, ...words]: string[]): void {
    if (command === "cluster") {
      this.#build(words);
      return;
    }
    const cluster = this.#cluster;
    assert(cluster !== undefined, "transcript: the first step is not `cluster`");
    const [first = "", second = ""] = words;
    switch (command) {
      case "deliver":
        for (const message of this.#take(first, second)) {
          cluster.deliver(message);
          this.#settle(cluster.node(message.to));
        }
        return;
      case "drop":
        this.#take(first, second);
        return;
      case "settle":
        this.#settleAll(cluster);
        return;
      case "lead":
        this.#lead(cluster, cluster.node(first));
        return;
      case "cut":
        cluster.cut(first, second);
        return;
      case "heal":
        cluster.heal();
        return;
      case "stream":
      case "lose":
        this.#endStream(cluster, cluster.node(first), command === "stream");
        return;
      case "clock":
        cluster.now = Number(first);
        return;
      case "logs":
        for (const node of cluster.nodes) this.#log(node);
        return;
    }
    const node = cluster.node(first);
    this.#act(command ?? "", node, words.slice(1), cluster);
    this.#settle(node);
  }

  #act(command: string, node: Node, words: readonly string[], cluster: Cluster): void {
    const core = node.core;
    const [word = ""] = words;
    switch (command) {
      case "log":
        this.#setLog(node, words.map(Number));
        this.#reboot(cluster, node);
        return;
      case "state":
        this.#setState(cluster, node, words);
        this.#reboot(cluster, node);
        return;
      case "tick":
        for (let i = 0; i < Number(word || 1); i++) core?.tick();
        return;
      case "campaign":
        core?.campaign();
        return;
      case "propose":
        for (const text of words) {
          if (core?.propose(utf8(text)) === undefined) this.#say(node, `refuses "${text}"`);
        }
        return;
      case "read":
        if (core?.role === "leader") cluster.read(node, word !== "quorum");
        else this.#say(node, "refuses the read");
        return;
      case "members":
        this.#changeMembers(node, namedMembers(cluster, words));
        return;
      case "follow":
        this.#follow(node, namedMembers(cluster, words));
        return;
      case "compact":
        cluster.compactTo(node, logIndex(Number(word)));
        return;
      case "quiesce":
        if (core?.quiesce() === false) this.#say(node, "has something to do");
        return;
      case "pause":
        core?.endLease();
        return;
      case "transfer":
        core?.transferLeadership(cluster.node(word).id);
        return;
      case "unreachable":
        core?.unreachable(cluster.node(word).id);
        return;
      case "sync":
        for (let left = Number(word || node.disk.pending); left > 0; left--) {
          cluster.sync(node);
          this.#settle(node);
        }
        return;
      case "crash":
        cluster.crash(node);
        this.#lastSeen.delete(node.id);
        return;
      case "restart":
        cluster.start(node);
        return;
      default:
        assert(false, `transcript: no step "${command}"`);
    }
  }

  #changeMembers(node: Node, members: Members): void {
    const result = node.core?.changeMembers(members);
    if (typeof result === "string") this.#say(node, `refuses: ${result}`);
  }

  #follow(node: Node, desired: Members): void {
    const core = node.core;
    if (core === undefined) return;
    const next = stepTowards(core.membership.configuration, desired, (other) => core.mayVote(other));
    if (next === undefined) this.#say(node, "has nothing to change now");
    else this.#changeMembers(node, next);
  }

  #endStream(cluster: Cluster, to: Node, arrives: boolean): void {
    const stream = cluster.streams.find((candidate) => candidate.to === to.id);
    assert(stream !== undefined, `transcript: no snapshot is on its way to ${to.id}`);
    cluster.streams.splice(cluster.streams.indexOf(stream), 1);
    cluster.endStream(stream, arrives);
    this.#settle(to);
    this.#settle(cluster.node(stream.snapshot.from));
  }

  #build(words: readonly string[]): void {
    const options = Object.fromEntries(words.slice(1).map((word) => word.split("=")));
    const option = (name: string, usual: number): number => Number(options[name] ?? usual);
    const size = Number(words[0]);
    const config: ClusterConfig = {
      electionTicks: option("electionTicks", 10),
      heartbeatTicks: option("heartbeatTicks", 3),
      appendBytesMax: option("appendBytesMax", 1000),
      inflightAppendsMax: option("inflightAppendsMax", 8),
      inflightBytesMax: option("inflightBytesMax", 10_000),
      lease: option("lease", 0),
      random: { below: () => 0 },
    };
    this.#cluster = new Cluster(size, config, option("voters", size));
    this.#cluster.onOutput = (node, output) => this.#output(node, output);
  }

  #setLog(node: Node, terms: readonly number[]): void {
    const entries = terms.map((number, at): Entry => {
      const name = `${at + 1}/${number}`;
      const data = this.#data.get(name) ?? utf8(name);
      this.#data.set(name, data);
      return { index: logIndex(at + 1), term: term(number), kind: "commands", data };
    });
    node.disk.durableLog.append(entries);
    const last = term(terms.at(-1) ?? 0);
    node.disk.durableState = { term: last, votedFor: undefined, commit: logIndex(0) };
  }

  #setState(cluster: Cluster, node: Node, [number, vote]: readonly string[]): void {
    const votedFor = vote === undefined ? undefined : cluster.node(vote).id;
    node.disk.durableState = { ...node.disk.durableState, term: term(Number(number)), votedFor };
  }

  #reboot(cluster: Cluster, node: Node): void {
    cluster.crash(node);
    cluster.start(node);
    this.#lastSeen.set(node.id, standing(node.core!));
  }

  /** Takes messages off the network, by sender and receiver. */
  #take(from: string, to: string): RaftMessage[] {
    const cluster = this.#cluster!;
    const chosen = (message: RaftMessage): boolean =>
      (from === "" || from === "*" || message.from === from) &&
      (to === "" || to === "*" || message.to === to);
    const taken = cluster.network.filter(chosen);
    cluster.network = cluster.network.filter((message) => !chosen(message));
    return taken;
  }

  #lead(cluster: Cluster, node: Node): void {
    const lines = this.#lines;
    this.#lines = [];
    node.core?.campaign();
    this.#settle(node);
    this.#settleAll(cluster);
    this.#lines = lines;
    assert(node.core?.role === "leader", `transcript: ${node.id} can't lead`);
  }

  #settleAll(cluster: Cluster): void {
    while (cluster.network.length > 0 || cluster.nodes.some(({ disk }) => disk.pending > 0)) {
      for (const node of cluster.nodes) {
        while (node.disk.pending > 0) {
          cluster.sync(node);
          this.#settle(node);
        }
      }
      this.#step(["deliver"]);
    }
  }

  #settle(node: Node): void {
    this.#cluster!.settle(node);
    if (node.core === undefined) return;
    const now = standing(node.core);
    if (now === (this.#lastSeen.get(node.id) ?? "follower in term 0")) return;
    this.#lastSeen.set(node.id, now);
    this.#say(node, `is ${now}`);
  }

  #output(node: Node, output: Output): void {
    const { hardState } = output;
    if (output.install !== undefined) {
      const { index, term: of, membership } = output.install;
      this.#say(node, `installs a snapshot up to ${index}/${of}, ${membersIn(membership.configuration)}`);
    }
    if (hardState !== undefined) {
      this.#say(node, `writes term ${hardState.term}, vote ${hardState.votedFor ?? "none"}`);
    }
    if (output.entries.length > 0) this.#say(node, `writes ${listed(output.entries)}`);
    for (const message of output.messages) this.#say(node, `-> ${message.to}  ${described(message)}`);
    for (const message of output.messagesAfterSync) {
      this.#say(node, `-> ${message.to}  ${described(message)}  (after sync)`);
    }
    if (output.committed.length > 0) this.#say(node, `applies ${listed(output.committed)}`);
    for (const { round, index } of output.reads) this.#say(node, `grants read round ${round} at ${index}`);
    for (const { to, index } of output.snapshots) {
      this.#say(node, `has to send ${to} a snapshot, up to ${index} at least`);
    }
    if (output.lostReadsUpTo > node.lostReadsUpTo) {
      this.#say(node, `gives up read rounds to ${output.lostReadsUpTo}`);
    }
  }

  #log(node: Node): void {
    const { log } = node.disk;
    const terms: string[] = [];
    for (let index: LogIndex = log.firstIndex; index <= log.lastIndex; index = logIndex(index + 1)) {
      terms.push(`${log.term(index)}`);
    }
    const before = log.firstIndex > 1 ? `(${log.firstIndex - 1} compacted) ` : "";
    this.#say(node, `${before}${terms.join(" ")}  commit ${node.core?.commitIndex ?? "(down)"}`);
  }

  #say(node: Node, what: string): void {
    this.#lines.push(`${node.id}  ${what}`);
  }
}

function standing({ role, term: current, leader, quiescent }: RaftCore): string {
  const follows = role === "leader" || leader === undefined ? "" : `, follows ${leader}`;
  return `${role} in term ${current}${follows}${quiescent ? ", asleep" : ""}`;
}

/** `index/term "data"` of each entry. */
function listed(entries: readonly Entry[]): string {
  return entries.map((entry) => `${entry.index}/${entry.term} ${content(entry)}`).join(", ");
}

function content({ kind, data }: Entry): string {
  if (kind === "noop") return "noop";
  return kind === "config" ? membersIn(decodeConfiguration(data)) : `"${fromUtf8(data)}"`;
}

function membersIn({ voters, outgoing, learners }: Configuration): string {
  const old = outgoing.length === 0 ? "" : ` and ${outgoing.join(" ")}`;
  const rest = learners.length === 0 ? "" : `, learners ${learners.join(" ")}`;
  return `voters ${voters.join(" ")}${old}${rest}`;
}

function described(message: RaftMessage): string {
  switch (message.kind) {
    case "vote": {
      const log = `log ends at ${message.lastIndex}/${message.lastTerm}`;
      if (message.preVote) return `would you vote for me in term ${message.term}? ${log}`;
      return `vote for me in term ${message.term}! ${log}${message.transfer ? ", the leader wants it" : ""}`;
    }
    case "voteReply":
      if (message.preVote)
        return `${message.granted ? "yes, I would" : "no, I would not"}, term ${message.term}`;
      return `${message.granted ? "yes" : "no"}, term ${message.term}`;
    case "append": {
      const entries = message.entries.length === 0 ? "nothing" : listed(message.entries);
      return `append after ${message.prevIndex}/${message.prevTerm}: ${entries}; commit ${message.commit}, term ${message.term}`;
    }
    case "appendReply":
      return message.accepted
        ? `have it up to ${message.index}, term ${message.term}`
        : `don't have ${message.index}, perhaps ${message.hintIndex}/${message.hintTerm}, term ${message.term}`;
    case "heartbeat":
      return `heartbeat: commit ${message.commit}, read round ${message.readRound}, term ${message.term}${message.quiesce ? ", the last for a while" : ""}`;
    case "heartbeatReply":
      return `heard: read round ${message.readRound}, term ${message.term}`;
    case "timeoutNow":
      return `take over from term ${message.term} to ${nextTerm(message.term)}`;
  }
}

/** Names of voters, and behind a plus those of learners. */
function namedMembers(cluster: Cluster, words: readonly string[]): Members {
  const plus = words.indexOf("+");
  const end = plus < 0 ? words.length : plus;
  const nodes = (names: readonly string[]) => names.map((name) => cluster.node(name).id);
  return { voters: nodes(words.slice(0, end)), learners: nodes(words.slice(end + 1)) };
}
