/**
 * The page's model of the run: the initial history, and every change to it since.
 * The types are those of `src/live/page/changes.rs` and `history.rs`.
 *
 * A value that is not a number is `null`; a loss that is not there is left out.
 *
 * @typedef {{round: number, train_loss?: number|null, losses: number[]|null,
 *   eval: Record<string, number|null>|null, exactness_error: number|null, virtual_seconds: number,
 *   seconds: {train: number, aggregate: number, evaluate: number}, bytes_up: number,
 *   bytes_down: number, outcomes: Record<string, number>}} Row
 * @typedef {{state: string, round: number, loss?: number|null, progress: number,
 *   selected_at: number|null, away_since: number|null, slow: boolean, excluded: boolean,
 *   slowdown: number, aggregated: number, missed: number, restarts: number, bytes_up: number,
 *   bytes_down: number}} Status
 * @typedef {[client: number, round: number, start: number, end: number, kind: string, slow: boolean]} Span
 * @typedef {{at: number|null, virtual_seconds: number, round: number, client: number|null,
 *   level: "good"|"warning"|"bad", text: string}} Line
 * @typedef {[lane: number, device: string, client?: number, round?: number, phase?: string]} Lane
 * @typedef {{host: string, description: string, lanes: number[], joined: number,
 *   left: {at: number, lost: boolean, reason: string}|null, done: number, redone: number,
 *   work: Lane[], heard: number, draining: boolean, sent: number|null, received: number|null}} Host
 * @typedef {{name: string, examples: number, status: Status, points: [number, number|null][]}} Client
 */

import { title, words } from "./format.js";

const MOST_ROUNDS = 2000;
const MOST_SPANS = 20_000;
const MOST_LINES = 400;
const MOST_TEXTS = 500;

export class Model {
  constructor() {
    this.ready = false;
    /** Seconds that this clock is ahead of the run's. */
    this.ahead = 0;
    this.facts = {};
    this.status = {};
    /** @type {Client[]} */ this.clients = [];
    /** Other hosts by number, in the order in which they joined. @type {Map<number, Host>} */
    this.hosts = new Map();
    /** @type {Row[]} */ this.rounds = [];
    /** @type {Line[]} */ this.lines = [];
    /** @type {Span[][]} */ this.spans = [];
    /** Rounds that texts were written after; 0: before training. @type {number[]} */ this.texts = [];
    /** The names of all scores so far. @type {Set<string>} */ this.scores = new Set();
    this.spanCount = 0;
    /** The kinds of bars so far, for the legend. @type {Set<string>} */
    this.kinds = new Set();
  }

  /** Replaces the whole state with another history. @param {any} history */
  replace(history) {
    const { facts, status, clients, hosts, rounds, lines, texts, most_points } = history;
    this.ahead = Date.now() / 1000 - history.now;
    Object.assign(this, { facts, status, clients, rounds, lines, texts, ready: true });
    this.scores = new Set(rounds.flatMap((row) => Object.keys(row.eval ?? {})));
    this.hosts.clear();
    this.changeHosts(hosts);
    this.mostPoints = most_points;
    this.spans = clients.map(() => []);
    this.spanCount = 0;
    this.kinds.clear();
    this.addSpans(history.spans);
  }

  /** Applies changes. @param {any} changes */
  apply(changes) {
    if (changes.status) this.status = changes.status;
    for (const [number, status] of Object.entries(changes.clients ?? {})) {
      this.clients[number].status = status;
    }
    this.changeHosts(changes.hosts ?? {});
    for (const [number, x, loss] of changes.points ?? []) this.addPoint(number, x, loss);
    for (const row of changes.rounds ?? []) this.addRound(row);
    this.addSpans(changes.spans ?? []);
    this.lines.push(...(changes.lines ?? []));
    this.lines.splice(0, this.lines.length - MOST_LINES);
    this.texts.push(...(changes.texts ?? []));
    if (this.texts.length > MOST_TEXTS) this.texts.splice(1, this.texts.length - MOST_TEXTS);
  }

  /** @param {Record<string, Host|null>} hosts */
  changeHosts(hosts) {
    for (const [number, host] of Object.entries(hosts)) {
      if (host) this.hosts.set(Number(number), host);
      else this.hosts.delete(Number(number));
    }
  }

  addPoint(number, x, loss) {
    const client = this.clients[number];
    client.points.push([x, loss]);
    if (client.points.length > this.mostPoints) {
      const last = client.points.length - 1;
      client.points = client.points.filter((_, i) => (last - i) % 2 === 0);
    }
  }

  addRound(row) {
    if (this.rounds.at(-1)?.round === row.round) this.rounds.pop();
    this.rounds.push(row);
    Object.keys(row.eval ?? {}).forEach((name) => this.scores.add(name));
    if (this.rounds.length > MOST_ROUNDS) {
      const last = this.rounds.length - 1;
      this.rounds = this.rounds.filter((_, i) => (last - i) % 2 === 0);
    }
  }

  /** @param {Span[]} spans */
  addSpans(spans) {
    for (const span of spans) {
      this.spans[span[0]]?.push(span);
      this.kinds.add(span[4] === "sent" && span[5] ? "slow" : span[4]);
    }
    this.spanCount += spans.length;
    if (this.spanCount > MOST_SPANS * 1.1) {
      // The latest of each client, in proportion.
      const share = MOST_SPANS / this.spanCount;
      for (const own of this.spans) own.splice(0, Math.floor(own.length * (1 - share)));
      this.spanCount = this.spans.reduce((sum, own) => sum + own.length, 0);
    }
  }

  /** Whether the fleet is so small that each client has its own line. */
  get isSmall() {
    return this.clients.length <= 12;
  }

  /** The run's clock, in seconds since 1970; it stands still once the run has ended. */
  get now() {
    return this.status.ended ?? Date.now() / 1000 - this.ahead;
  }

  /** Whether its lanes are those of other hosts. */
  get isOnHosts() {
    return this.facts.lanes.length === 0;
  }

  get isOver() {
    return this.status.phase === "over";
  }

  /** Virtual seconds of a round, estimated from the latest ones. */
  get roundLength() {
    const ends = this.rounds.slice(-6).map((row) => row.virtual_seconds);
    const first = this.rounds.length > ends.length ? ends.shift() : 0;
    return ends.length ? Math.max((ends.at(-1) - first) / ends.length, 1e-3) : 1;
  }

  /** The share of all rounds that is done, from 0 to 1. */
  get progress() {
    if (this.isOver && this.status.ending === "complete") return 1;
    const inWork = this.clients.filter((c) => c.status.selected_at !== null);
    const share = inWork.reduce((sum, c) => sum + c.status.progress, 0) / (inWork.length || 1);
    const finished = this.rounds.at(-1)?.round ?? 0;
    return Math.min(1, (finished + (this.isOver ? 0 : share)) / Math.max(1, this.facts.rounds));
  }

  /** Names of the scores on validation, in the task's order, without the loss and the base's. */
  get scoreNames() {
    const place = (name) => {
      const at = this.facts.metrics.indexOf(this.metric(name));
      return at < 0 ? Infinity : at;
    };
    const own = [...this.scores].filter((name) => name !== "loss" && !name.startsWith("base_"));
    return own.sort().sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
  }

  /** Whether the model before training was scored as well. */
  get hasBase() {
    return [...this.scores].some((name) => name.startsWith("base_"));
  }

  /** The metric that a score is of, on whichever split. @param {string} score */
  metric(score) {
    const name = score.replace(/_mm$/, "");
    return this.facts.metrics.find((metric) => metric.name === name);
  }

  /** A score's name for people. @param {string} score */
  titleOf(score) {
    return title(this.properTitle(score) ?? score);
  }

  /** A score's name within a line. @param {string} score */
  labelOf(score) {
    return this.properTitle(score) ?? words(score);
  }

  /** The name of a score that is spelled in a way of its own. @param {string} score */
  properTitle(score) {
    const metric = this.metric(score);
    return metric?.title && metric.title + words(score.slice(metric.name.length));
  }
}
