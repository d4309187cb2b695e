/** Events in words, and the table of rounds. */

import { byId, make } from "./dom.js";
import * as format from "./format.js";

/** @typedef {import("./model.js").Model} Model */

const MOST_LINES = 120;
const MOST_ROWS = 200;

/** Items that were made before, since most lines stay. @type {WeakMap<object, HTMLElement>} */
const items = new WeakMap();

/** @param {import("./model.js").Line} line */
export function eventItem(line) {
  let item = items.get(line);
  if (!item) {
    item = makeItem(line);
    items.set(line, item);
  }
  return item;
}

function makeItem(line) {
  const text = line.client === null ? line.text
    : make("a", { href: `#/client/${line.client}`, textContent: line.text });
  const time = line.at === null ? `round ${line.round}` : format.clock(line.at);
  const title = `round ${line.round}, ${format.duration(line.virtual_seconds)} of virtual time`;
  return make("li", { className: line.level, title },
    make("i", { role: "img", "aria-label": line.level }), make("time", { textContent: time }), make("span", {}, text));
}

/** @param {Model} model */
export function showEvents(model) {
  const trouble = byId("only-trouble").checked;
  const lines = model.lines.filter((line) => !trouble || line.level !== "good").slice(-MOST_LINES);
  const shown = lines.reverse().map(eventItem);
  const none = make("li", { className: "none", textContent: trouble ? "No trouble so far." : "Nothing yet." });
  byId("events").replaceChildren(...(shown.length ? shown : [none]));
}

/** @param {Model} model */
export function showRounds(model) {
  const scores = model.scoreNames.slice(0, 2);
  const head = ["Round", "Train loss", ...scores.map((name) => model.titleOf(name)), "Validation loss", "Exactness",
    "Aggregated", "Virtual time", "Wall time"];
  const rows = model.rounds.slice(-MOST_ROWS).reverse().map((row) => {
    const parts = Object.values(row.outcomes).reduce((sum, n) => sum + n, 0);
    const { train, aggregate, evaluate } = row.seconds;
    const wall = train + aggregate + evaluate;
    return [row.round, format.loss(row.train_loss), ...scores.map((s) => format.loss(row.eval?.[s])),
      format.loss(row.eval?.loss), format.error(row.exactness_error),
      `${row.outcomes.aggregated ?? 0} of ${parts}`, format.duration(row.virtual_seconds),
      wall ? format.duration(wall) : format.DASH];
  });
  fillTable(byId("rounds"), head, rows);
}

/** @param {HTMLElement} table @param {string[]} head @param {any[][]} rows */
export function fillTable(table, head, rows) {
  const line = (tag, cells) => make("tr", {}, ...cells.map((cell) => make(tag, { textContent: cell })));
  const header = line("th", head);
  header.querySelectorAll("th").forEach((cell) => { cell.scope = "col"; });
  table.replaceChildren(make("thead", {}, header), make("tbody", {}, ...rows.map((row) => line("td", row))));
}
