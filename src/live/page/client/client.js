/** One client's own view. */

import { Chart } from "./chart.js";
import { lossPicture } from "./charts.js";
import { send } from "./control.js";
import { byId, make, say, sharpen } from "./dom.js";
import { eventItem, fillTable } from "./events.js";
import * as format from "./format.js";
import { KINDS, drawAxis, drawRounds, drawStrip, stretch } from "./timeline.js";

/** @typedef {import("./model.js").Model} Model */

const MOST_ROWS = 100;

export class ClientView {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.number = -1;
    this.host = byId("client");
    // One for all clients, since a chart listens for as long as the page lives.
    this.chartHost = make("div", { className: "chart tall" });
    this.chart = new Chart(this.chartHost, "Appears when it trains");
  }

  /** Lays the view out for a client. @param {number} number */
  open(number) {
    if (this.number === number) return;
    this.number = number;
    this.name = make("h1", { tabIndex: -1 });
    this.state = make("span", { className: "pill" });
    this.note = make("span", { className: "where" });
    this.controls = this.makeControls();
    this.tiles = make("dl", { className: "tiles" });
    this.axis = make("canvas", { className: "strip-axis", "aria-hidden": "true" });
    this.strip = make("canvas", { className: "strip", "aria-hidden": "true" });
    this.table = make("table", { className: "work" });
    this.lines = make("ol", { className: "lines", tabIndex: 0 });
    this.lay();
  }

  /** Puts the parts in their places. */
  lay() {
    const card = (title, kind, ...children) =>
      make("section", { className: `card ${kind}` }, make("h2", { textContent: title }), ...children);
    const back = make("a", { href: "#/", textContent: "← Fleet" });
    const scroll = { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Work, the latest first" };
    this.host.replaceChildren(
      make("div", { className: "who" }, back, this.name, this.state, this.note, this.controls),
      this.tiles,
      card("Training loss", "", this.chartHost),
      card("Events", "side", this.lines),
      card("Work in virtual time", "full", this.axis, this.strip, make("div", scroll, this.table)),
    );
  }

  close() {
    this.number = -1;
    this.host.replaceChildren();
  }

  makeControls() {
    const button = (text, ask) => {
      const onclick = () => send(this.model, { client: this.number, ...ask() });
      return make("button", { type: "button", textContent: text, onclick });
    };
    this.drop = button("Drop", () => ({ command: "drop" }));
    this.restore = button("Restore", () => ({ command: "restore" }));
    this.factor = make("input", { type: "number", min: "0.001", max: "1000000", step: "any", value: "3", id: "factor" });
    const slow = button("Slow down", () => ({ command: "slow", factor: Number(this.factor.value) }));
    return make("span", { className: "controls" }, this.drop, this.restore, slow,
      make("label", {}, "by a factor of ", this.factor));
  }

  /** @param {boolean} live */
  show(live) {
    const { model, number } = this;
    const { name, examples, status, points } = model.clients[number];
    say(this.name, name);
    say(this.state, format.title(status.excluded ? "excluded" : status.state));
    this.state.className = `pill ${status.state === "training" ? "busy" : ""}`;
    say(this.note, `client ${number} · ${format.count(examples, "example")}`);
    this.controls.hidden = model.facts.steering === "off" || model.isOver || !live;
    this.drop.hidden = status.excluded;
    this.restore.hidden = !status.excluded && status.state !== "retired";
    this.showTiles(status);
    this.chart.show(lossPicture(model, new Map([[number, 1]])));
    this.chart.describe(`Training loss of ${name}: ${format.loss(points.at(-1)?.[1])}.`);
    this.showWork(number);
    const own = model.lines.filter((line) => line.client === number).reverse();
    const none = make("li", { className: "none", textContent: "Nothing out of the ordinary." });
    this.lines.replaceChildren(...(own.length ? own.map(eventItem) : [none]));
  }

  showTiles(status) {
    const tile = (label, ...texts) =>
      make("div", {}, make("dt", { textContent: label }), ...texts.map((text) => make("dd", { textContent: text })));
    this.tiles.replaceChildren(
      tile("Loss", format.loss(status.loss), `round ${status.round || format.DASH}`),
      tile("Rounds aggregated", String(status.aggregated), `${status.missed} missed`),
      tile("Restarts", String(status.restarts), "after failures"),
      tile("Traffic", format.bytes(status.bytes_up + status.bytes_down),
        `↑ ${format.bytes(status.bytes_up)}  ↓ ${format.bytes(status.bytes_down)}`),
      tile("Slowed by", `× ${status.slowdown}`, status.slow ? "and by a fault now" : "from outside"),
    );
  }

  showWork(number) {
    const { model } = this;
    const time = stretch(model, 0);
    drawAxis(this.axis, time);
    const [width, height] = [this.strip.clientWidth, this.strip.clientHeight];
    const context = sharpen(this.strip, width, height);
    drawRounds(context, model, { x: 0, y: 0, width, height }, time);
    drawStrip(context, model, number, { x: 0, y: 4, width, height: height - 8 }, time);
    const lossAt = new Map(model.clients[number].points.map(([x, loss]) => [x, loss]));
    const rows = model.spans[number].slice(-MOST_ROWS).reverse().map(([, round, start, end, kind, slow]) =>
      [round, KINDS[kind === "sent" && slow ? "slow" : kind].words, format.duration(start),
        format.duration(end - start), kind === "sent" ? format.loss(lossAt.get(round)) : format.DASH]);
    fillTable(this.table, ["Round", "Outcome", "From", "For", "Loss"], rows);
  }
}
