/** The fleet: a row for each client, of which only those in sight are in the document. */

import { onTheme, seriesColor } from "./colors.js";
import { byId, make, say, sharpen } from "./dom.js";
import * as format from "./format.js";
import { KINDS, bar, drawAxis, drawOutcomes, drawRounds, drawStrip, stretch } from "./timeline.js";

/** @typedef {import("./model.js").Model} Model */

const ROW = 28;
const STATES = ["training", "queued", "sent", "idle", "dropped", "restarting", "retired"];
const MOST_PINS = 12;

export class Fleet {
  /** @param {Model} model @param {() => void} changed called when other lines are wanted */
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    /** Clients whose loss is drawn, with their colours. @type {Map<number, number>} */
    this.pins = new Map();
    /** @type {number[]} */ this.order = [];
    /** Elements with `cells`, `pin` and the client's `number`. @type {any[]} */ this.rows = [];
    this.only = "";
    this.current = 0;
    this.body = byId("fleet-body");
    this.body.addEventListener("scroll", () => this.draw());
    this.body.addEventListener("keydown", (event) => this.onKey(event));
    byId("find").addEventListener("input", () => this.show());
    byId("sort").addEventListener("change", () => { this.sorted = true; this.show(); });
    byId("window").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.body);
    onTheme(() => { this.explained = ""; this.draw(); });
  }

  /** After another history: a small fleet is drawn whole. */
  reset() {
    const { model } = this;
    const kept = [...this.pins.keys()].filter((number) => number < model.clients.length);
    const wanted = model.isSmall && !kept.length ? model.clients.keys() : kept;
    this.pins = new Map();
    for (const number of wanted) this.pins.set(number, this.freeSlot());
    say(byId("fleet-count"), format.count(model.clients.length, "client"));
    byId("fleet-all").hidden = model.isSmall;
    // Of many clients, few are at work, and those are worth a look first.
    if (!this.sorted) byId("sort").value = model.isSmall ? "number" : "recent";
    this.show();
  }

  freeSlot() {
    const taken = new Set(this.pins.values());
    // In a large fleet the first colour is that of the median.
    let slot = this.model.isSmall ? 0 : 1;
    while (taken.has(slot)) slot += 1;
    return slot;
  }

  pin(number, on) {
    if (!on) this.pins.delete(number);
    else if (this.pins.size < MOST_PINS) this.pins.set(number, this.freeSlot());
    this.draw();
    this.changed();
  }

  /** Sorts, filters, draws. */
  show() {
    const { clients } = this.model;
    const find = byId("find").value.trim().toLowerCase();
    const matches = (number) =>
      (!find || clients[number].name.toLowerCase().includes(find) || String(number) === find) &&
      (!this.only || clients[number].status.state === this.only);
    const badness = {
      number: () => 0,
      recent: (number) => clients[number].status.round,
      loss: (number) => clients[number].status.loss ?? -Infinity,
      missed: (number) => clients[number].status.missed,
    }[byId("sort").value];
    const order = [...clients.keys()].filter(matches);
    this.order = order.sort((a, b) => badness(b) - badness(a) || a - b);
    this.showChips();
    const height = `${this.order.length * ROW}px`;
    byId("fleet-rows").style.height = height;
    byId("fleet-table").setAttribute("aria-rowcount", String(this.order.length + 1));
    this.draw();
  }

  showChips() {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const { status } of this.model.clients) counts[status.state] += 1;
    const host = byId("state-chips");
    for (const state of STATES) {
      let chip = host.querySelector(`[data-state=${state}]`);
      if (!chip) {
        const toggle = () => { this.only = this.only === state ? "" : state; this.show(); };
        chip = make("button", { type: "button", "data-state": state, onclick: toggle },
          make("span", { className: `dot ${state}` }), make("span"));
        host.append(chip);
      }
      chip.hidden = !counts[state] && this.only !== state;
      chip.setAttribute("aria-pressed", String(this.only === state));
      say(chip.lastElementChild, `${counts[state]} ${state}`);
    }
  }

  /** Puts the rows that are in sight in their places, and the bars behind them. */
  draw() {
    const { body, model } = this;
    if (!body.clientWidth || !model.ready) return;
    const first = Math.floor(body.scrollTop / ROW);
    const last = Math.min(this.order.length, Math.ceil((body.scrollTop + body.clientHeight) / ROW));
    while (this.rows.length < last - first) this.rows.push(this.makeRow());
    this.rows.forEach((row, i) => {
      row.hidden = first + i >= last;
      if (!row.hidden) this.fillRow(row, first + i);
    });
    this.drawBars(first, last);
    this.drawLegend();
  }

  makeRow() {
    const pin = make("input", { type: "checkbox", onchange: (event) => this.pin(row.number, event.target.checked) });
    const cells = [
      make("span", { className: "c-pin", role: "cell" }, pin),
      make("span", { className: "c-name", role: "cell" }, make("a")),
      make("span", { className: "c-state", role: "cell" }, make("span", { className: "dot" }), make("span")),
      make("span", { className: "c-loss", role: "cell" }),
      make("span", { className: "c-time", role: "cell" }),
    ];
    const row = make("div", { className: "fleet-row", role: "row" }, ...cells);
    Object.assign(row, { cells, pin });
    byId("fleet-rows").append(row);
    return row;
  }

  fillRow(row, place) {
    const number = this.order[place];
    const { name, status } = this.model.clients[number];
    const slot = this.pins.get(number);
    const [, nameCell, stateCell, lossCell, timeCell] = row.cells;
    row.number = number;
    row.style.transform = `translateY(${place * ROW}px)`;
    row.setAttribute("aria-rowindex", String(place + 2));
    row.pin.checked = slot !== undefined;
    row.pin.disabled = slot === undefined && this.pins.size >= MOST_PINS;
    row.pin.setAttribute("aria-label", `Draw the loss of ${name}`);
    row.pin.style.setProperty("--pin", slot === undefined ? "" : seriesColor(slot));
    nameCell.firstChild.href = `#/client/${number}`;
    say(nameCell.firstChild, name);
    nameCell.firstChild.title = name;
    stateCell.firstChild.className = `dot ${status.state}`;
    const state = status.slow ? `${status.state}, slow` : status.state;
    say(stateCell.lastChild, status.excluded ? "excluded" : state);
    stateCell.title = status.state;
    say(lossCell, format.loss(status.loss));
    timeCell.title = this.inWords(number);
    timeCell.setAttribute("aria-label", timeCell.title);
  }

  /** A client's rounds, for those who do not see the bars. */
  inWords(number) {
    const { aggregated, missed, restarts } = this.model.clients[number].status;
    const again = restarts ? `, ${format.count(restarts, "restart")}` : "";
    return `${format.count(aggregated, "round")} aggregated, ${missed} missed${again}`;
  }

  drawBars(first, last) {
    const { body, model } = this;
    const place = this.rows[0]?.cells[4];
    if (!place) return;
    const left = place.offsetLeft;
    const width = place.offsetWidth - 8;
    const height = body.clientHeight;
    const canvas = byId("fleet-canvas");
    canvas.style.left = `${left}px`;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = sharpen(canvas, width, height);
    const time = stretch(model, Number(byId("window").value));
    const box = { x: 0, y: 0, width, height: Math.min(height, this.order.length * ROW) };
    drawRounds(context, model, box, time);
    for (let i = first; i < last; i += 1) {
      const y = i * ROW - body.scrollTop + 7;
      drawStrip(context, model, this.order[i], { x: 0, y, width, height: ROW - 13 }, time);
    }
    drawAxis(byId("fleet-axis"), time);
    if (!model.isSmall) drawOutcomes(byId("fleet-outcomes"), model, time);
  }

  /** Shows the legend of the bars in use. */
  drawLegend() {
    const kinds = Object.keys(KINDS).filter((kind) => 
      kind === "working" ? !this.model.isOver : this.model.kinds.has(kind));
    if (this.explained === kinds.join()) return;
    this.explained = kinds.join();
    byId("fleet-legend").replaceChildren(...kinds.map((kind) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      bar(sharpen(canvas, 26, 12), kind === "refused" ? 12 : 1, 1, 24, 10, kind);
      return make("li", {}, canvas, KINDS[kind].words);
    }));
  }

  /** Arrows move from client to client, also to those that are out of sight. */
  onKey(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
    if (!by || event.target.tagName === "INPUT") return;
    event.preventDefault();
    const focused = this.rows.find((row) => row.contains(document.activeElement));
    const from = focused ? this.order.indexOf(focused.number) : by > 0 ? -1 : 0;
    const to = Math.max(0, Math.min(this.order.length - 1, from + by));
    const top = to * ROW;
    const { scrollTop, clientHeight } = this.body;
    if (top < scrollTop) this.body.scrollTop = top;
    if (top + ROW > scrollTop + clientHeight) this.body.scrollTop = top + ROW - clientHeight;
    this.draw();
    const row = this.rows.find((row) => !row.hidden && row.number === this.order[to]);
    row?.querySelector("a").focus({ preventScroll: true });
  }
}
