/** The hosts of a run over many machines: who does what, who is silent, who has left. */

import { byId, make, say } from "./dom.js";
import * as format from "./format.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Host} Host */
/** @typedef {import("./model.js").Lane} Lane */

const MOST_ROWS = 200;
/** Hosts that have said nothing for so many seconds are silent; they speak every two. */
const SILENT = 5;

const PHASES = { fetching: "fetches the state for", training: "trains" };

/** A table row that is changed in place, so that links in it can be clicked. */
class Row {
  constructor() {
    this.lanes = make("ul");
    this.cells = Array.from({ length: 7 }, () => make("td"));
    this.cells[2].append(this.lanes);
    this.element = make("tr", {}, ...this.cells);
  }

  /** @param {Host} host @param {Model} model */
  show(host, model) {
    const [name, state, , ...numbers] = this.cells;
    say(name, host.host);
    name.title = `${host.host}: ${host.description}; joined at ${format.clock(host.joined)}`;
    const [words, kind] = stateOf(host, model);
    say(state, words);
    this.element.className = kind;
    [format.whole(host.done), format.whole(host.redone), format.bytes(host.sent), format.bytes(host.received)]
      .forEach((text, i) => say(numbers[i], text));
    this.showLanes(host, model);
  }

  /** @param {Host} host @param {Model} model */
  showLanes(host, model) {
    const works = host.left ? [] : host.work;
    if (this.lanes.childElementCount !== works.length) {
      this.lanes.replaceChildren(...works.map(() => make("li", {}, make("i", { className: "dot" }), make("span"), make("a"))));
    }
    works.forEach((lane, i) => showLane(this.lanes.children[i], lane, model));
  }
}

/** @param {Element} item @param {Lane} lane @param {Model} model */
function showLane(item, [lane, device, client, round, phase], model) {
  const [dot, label, link] = item.children;
  const name = `lane ${lane}${device ? ` (${device})` : ""}`;
  const training = client !== undefined && phase === "training";
  dot.className = `dot ${training ? "training" : client === undefined ? "" : "queued"}`;
  say(label, client === undefined ? `${name} waits` : name);
  const who = model.clients[client];
  link.hidden = !who;
  if (!who) return;
  link.href = `#/client/${client}`;
  const { status } = who;
  const share = training && status.round === round ? `, ${Math.round(100 * status.progress)} %` : "";
  say(link, `${PHASES[phase] ?? phase} ${who.name}, round ${round}${share}`);
}

/** @param {Host} host @param {Model} model @returns {[words: string, kind: string]} */
function stateOf(host, model) {
  const { left } = host;
  if (left) {
    const when = `${left.lost ? "lost" : "left"} at ${format.clock(left.at)}`;
    return [`${when}: ${left.reason}`, left.lost ? "gone lost" : "gone"];
  }
  const silence = model.now - host.heard;
  if (silence > SILENT) {
    return [`silent for ${format.duration(silence)}, since ${format.clock(host.heard)}`, "silent"];
  }
  return host.draining ? ["finishes its jobs and leaves", ""] : ["answers", ""];
}

export class Hosts {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {Map<number, Row>} */
    this.rows = new Map();
  }

  /** Another history begins. */
  reset() {
    this.rows.clear();
    byId("hosts-body").replaceChildren();
  }

  show() {
    const { model } = this;
    byId("hosts").hidden = !model.isOnHosts;
    if (!model.isOnHosts) return;
    // Who is there comes first, then who left last.
    const all = [...model.hosts].sort(([a, one], [b, other]) =>
      (one.left && other.left ? other.left.at - one.left.at : Number(!!one.left) - Number(!!other.left)) || a - b);
    const shown = all.slice(0, MOST_ROWS);
    say(byId("hosts-note"), note(model, all.length - shown.length));
    const elements = shown.map(([number, host]) => {
      const row = this.rows.get(number) ?? new Row();
      this.rows.set(number, row);
      row.show(host, model);
      return row.element;
    });
    const none = make("tr", {}, make("td", { className: "none", colSpan: 7, textContent: "No host has joined yet." }));
    for (const number of this.rows.keys()) if (!model.hosts.has(number)) this.rows.delete(number);
    arrange(byId("hosts-body"), elements.length ? elements : [none]);
  }
}

/** @param {Model} model @param {number} hidden rows that are not shown */
function note(model, hidden) {
  const hosts = [...model.hosts.values()];
  const lost = hosts.filter((host) => host.left?.lost).length;
  const parts = [`${format.whole(hosts.filter((host) => !host.left).length)} there`];
  if (lost) parts.push(`${format.whole(lost)} lost`);
  if (hidden > 0) parts.push(`${format.whole(hidden)} not shown`);
  const away = model.status.broker_away;
  if (away !== null && !model.isOver) parts.push(`the broker has been away since ${format.clock(away)}`);
  return parts.join(" · ");
}

/** Gives an element these children, and touches none that is in its place. @param {Element} parent @param {Element[]} children */
function arrange(parent, children) {
  children.forEach((child, i) => {
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
  while (parent.childElementCount > children.length) parent.lastElementChild?.remove();
}
