/** The head of the page: the state of the run, in words and numbers. */

import { byId, make, say } from "./dom.js";
import * as format from "./format.js";

/** @typedef {import("./model.js").Model} Model */

const PHASES = {
  starting: ["Starting", ""], training: ["Training", "busy"], aggregating: ["Aggregating", "busy"],
  evaluating: ["Evaluating", "busy"], between: ["Between rounds", "busy"], paused: ["Paused", "warn"],
  predicting: ["Predicting", "busy"],
};
const ENDINGS = {
  complete: ["Complete", "good"], stopped_after_round: ["Stopped", "warn"],
  stopped_at_once: ["Stopped during the round", "bad"],
};

/** @param {any} status @returns {[string, string]} words and their class */
function state(status) {
  if (status.phase !== "over") return PHASES[status.phase];
  return ENDINGS[status.ending] ?? ["Failed", "bad"];
}

export class Header {
  constructor() {
    this.tiles = new Map();
    this.line = "connecting";
  }

  /** @param {Model} model */
  show(model) {
    const { facts, status } = model;
    const [words, kind] = state(status);
    const lost = this.line === "lost";
    say(byId("run-name"), facts.name);
    document.title = `${words} · ${facts.name} · Regatta`;
    const pill = byId("phase");
    say(pill, lost ? "No answer" : words);
    pill.className = `pill ${lost ? "warn" : kind}`;
    this.showWhere(model);
    const share = model.progress;
    const bar = byId("progress");
    bar.firstElementChild.style.width = `${100 * share}%`;
    bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    this.showTiles(model);
    say(byId("facts"), [
      facts.task, facts.adapter, facts.method, facts.model, `seed ${facts.seed}`,
      lanes(model), `Regatta ${facts.version}`,
    ].join(" · "));
  }

  /** @param {Model} model */
  showWhere(model) {
    const { facts, status } = model;
    const parts = [`round ${format.whole(status.round)} of ${format.whole(facts.rounds)}`];
    const took = format.duration(model.now - facts.started);
    parts.push(`${took} so far`);
    const left = remaining(model);
    if (left !== null && !model.isOver && !status.predicted) parts.push(`about ${format.duration(left)} left`);
    if (status.predicted) {
      const [done, total] = status.predicted.map(format.whole);
      parts.push(`${done} of ${total} test examples predicted`);
    }
    if (model.isOver) parts[1] = `took ${took}`;
    say(byId("where"), parts.join(" · "));
  }

  /** @param {Model} model */
  showTiles(model) {
    const { totals } = model.status;
    const last = model.rounds.at(-1);
    const main = model.scoreNames[0] ?? "score";
    const trained = model.rounds.findLast((row) => row.train_loss !== undefined);
    const spread = last?.losses;
    this.scoreTile("main", model.titleOf(main), main, model);
    this.scoreTile("eval", "Validation loss", "loss", model);
    this.tile("train", "Training loss", format.loss(trained?.train_loss),
      spread ? `clients ${format.loss(spread[0])} to ${format.loss(spread[4])}` : "no round yet");
    this.tile("exact", "Exactness error", format.error(totals.exactness_error),
      `worst ${format.error(totals.worst_exactness_error)}`);
    this.tile("traffic", "Traffic", format.bytes(totals.bytes_up + totals.bytes_down),
      `↑ ${format.bytes(totals.bytes_up)}  ↓ ${format.bytes(totals.bytes_down)}`);
    this.tile("time", "Virtual time", format.duration(model.status.virtual_seconds),
      last ? `${format.duration(model.roundLength)} a round` : "at the start");
  }

  /** A score, its best, and that of the model before training. @param {Model} model */
  scoreTile(key, label, name, model) {
    const { best, eval: last } = model.status.totals;
    const found = best[name];
    const note = found ? `best ${format.loss(found.value)}, round ${found.round}`
      : last?.[name] === null ? "not a number so far" : "not scored yet";
    const base = last?.[`base_${name}`];
    this.tile(key, label, format.loss(last?.[name]), note, base === undefined ? "" : `before training ${format.loss(base)}`);
  }

  tile(key, label, value, note, further = "") {
    let tile = this.tiles.get(key);
    if (!tile) {
      tile = [make("dt"), make("dd"), make("dd"), make("dd")];
      byId("tiles").append(make("div", {}, ...tile));
      this.tiles.set(key, tile);
    }
    [label, value, note, further].forEach((text, i) => say(tile[i], text));
  }

  /** Shows the state of the connection to the run. @param {string} line @param {Model} model @param {() => void} retry */
  showLine(line, model, retry) {
    if (line === "live") this.seen = Date.now() / 1000;
    this.line = line;
    const banner = byId("banner");
    const text = this.banner(line, model);
    banner.hidden = !text;
    banner.classList.toggle("good", model.isOver && model.status.ending === "complete");
    if (banner.dataset.text !== text) {
      banner.dataset.text = text;
      banner.replaceChildren(text);
      if (line === "gone") banner.append(make("button", { type: "button", textContent: "Retry", onclick: retry }));
    }
    if (model.ready) this.show(model);
  }

  banner(line, model) {
    if (model.isOver) {
      const how = model.status.error ? `The run ended: ${model.status.error}.`
        : model.status.ending === "complete" ? "The run is complete." : "The run was stopped.";
      return line === "live" ? how : `${how} The program has exited; this page shows the last known state.`;
    }
    if (line !== "lost") return "";
    const since = this.seen ? `; last update at ${format.clock(this.seen)}` : "";
    return `The run does not respond${since}. Trying again…`;
  }
}

/** The lanes of this machine, or how many other hosts have. @param {Model} model */
function lanes(model) {
  if (!model.isOnHosts) return `lanes: ${model.facts.lanes.join(", ")}`;
  const present = [...model.hosts.values()].filter((host) => !host.left);
  const count = present.reduce((sum, host) => sum + host.lanes.length, 0);
  return `${format.count(count, "lane")} on ${format.count(present.length, "host")}`;
}

/** Estimated wall seconds left, from the latest rounds. @param {Model} model */
function remaining(model) {
  const wall = ({ seconds }) => seconds.train + seconds.aggregate + seconds.evaluate;
  const latest = model.rounds.slice(-5).map(wall).filter((seconds) => seconds > 0);
  if (!latest.length) return null;
  const mean = latest.reduce((sum, seconds) => sum + seconds, 0) / latest.length;
  return mean * model.facts.rounds * (1 - model.progress);
}
